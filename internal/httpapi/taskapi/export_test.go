package taskapi

import (
	"net/http"

	"safelight/internal/auth"
)

// ServeEvents serves a stream of events without a mux around.
func (a *API) ServeEvents(w http.ResponseWriter, r *http.Request) {
	a.require(auth.Read, a.events)(w, r)
}
