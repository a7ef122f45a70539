package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/mirror"
)

// Mirrors has objects looked at that are said to have changed.
type Mirrors interface {
	Changed(ctx context.Context, owner string, objects []mirror.Object) (tasks int, err error)
}

// maxEventBytes bounds a notification.
const maxEventBytes = 1 << 20

// eventsAnswer is what came of a notification.
type eventsAnswer struct {
	Objects int `json:"objects" doc:"Names in the notification"`
	Tasks   int `json:"tasks" doc:"Submitted for them; names that no mirror has make none"`
}

// s3Events takes notifications of changes in buckets, as S3 and what speaks its
// protocol send them. A key may come as the password of Basic authentication, as
// senders often know nothing else than a URL.
func (s *Server) s3Events(w http.ResponseWriter, r *http.Request) {
	if _, password, ok := r.BasicAuth(); ok {
		r.Header.Set("Authorization", "Bearer "+password)
	}
	p, err := s.permit(r, auth.Upload)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="safelight"`) // SNS sends a password only when it is asked
		s.fail(w, r, err)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEventBytes+1))
	switch {
	case err != nil:
		err = fault.Wrap(fault.Invalid, err, "the body broke off")
	case len(body) > maxEventBytes:
		err = fault.Limit(fault.TooLarge, "notification bytes", maxEventBytes, int64(len(body)), "a notification may have %d bytes", maxEventBytes)
	}
	var names []eventName
	if err == nil {
		names, err = s.readEvents(body)
	}
	answer := eventsAnswer{Objects: len(names)}
	if err == nil && len(names) > 0 {
		answer.Tasks, err = s.Mirrors.Changed(r.Context(), p.Owner, candidates(names))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// eventName is an object as a notification names it.
type eventName struct {
	bucket, key string
	plain       bool // the key is not escaped
}

// notification is every form in which changes are told: S3's own, which others
// send too; that of SNS around it; and that of EventBridge.
type notification struct {
	Records []struct {
		S3 struct {
			Bucket struct{ Name string }
			Object struct{ Key string }
		}
	}
	Event string // s3:TestEvent

	Type         string
	Message      string
	SubscribeURL string
	TopicARN     string `json:"TopicArn"`

	DetailType string `json:"detail-type"`
	Detail     struct {
		Bucket struct{ Name string }
		Object struct{ Key string }
	}
}

// readEvents finds the names in a notification. Which change it tells of does not
// matter: what is there is looked at.
func (s *Server) readEvents(body []byte) ([]eventName, error) {
	n, err := readNotification(body)
	if err != nil {
		return nil, err
	}
	switch n.Type {
	case "Notification":
		if n, err = readNotification([]byte(n.Message)); err != nil {
			return nil, err
		}
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		s.log.Warn("SNS asks to confirm a subscription; open the URL to do so, if it is yours", "topic", n.TopicARN, "type", n.Type, "url", n.SubscribeURL)
		return nil, nil
	}
	var names []eventName
	for _, r := range n.Records {
		names = append(names, eventName{r.S3.Bucket.Name, r.S3.Object.Key, false})
	}
	if n.DetailType != "" {
		names = append(names, eventName{n.Detail.Bucket.Name, n.Detail.Object.Key, true})
	}
	for _, name := range names {
		if name.bucket == "" || name.key == "" {
			return nil, fault.New(fault.Invalid, "a record of the notification names no bucket or no object")
		}
	}
	if len(names) == 0 && n.Event == "" {
		return nil, fault.New(fault.Invalid, "this is no notification of a bucket: expected Records, as S3 sends them")
	}
	return names, nil
}

func readNotification(body []byte) (n notification, err error) {
	if err := json.Unmarshal(body, &n); err != nil {
		return n, fault.New(fault.Invalid, "the notification is not JSON as S3 sends it: %v", err)
	}
	return n, nil
}

// candidates are the objects that names may mean. S3 escapes them as in forms,
// others as in paths or not at all: where that differs all are looked at, and
// those that are not there make no image.
func candidates(names []eventName) []mirror.Object {
	var objects []mirror.Object
	for _, n := range names {
		spellings := []string{n.key}
		if !n.plain {
			for _, unescape := range []func(string) (string, error){url.QueryUnescape, url.PathUnescape} {
				if key, err := unescape(n.key); err == nil && !slices.Contains(spellings, key) {
					spellings = append(spellings, key)
				}
			}
		}
		for _, key := range spellings {
			objects = append(objects, mirror.Object{Bucket: n.bucket, Name: key})
		}
	}
	return objects
}

// eventsOperation describes the route of notifications.
func eventsOperation(answer *huma.Schema, problem *huma.Response) *huma.Operation {
	return &huma.Operation{
		Method: http.MethodPost, Path: "/v1/events/s3", OperationID: "bucket-events", Tags: []string{"images"},
		Summary:     "Takes a bucket's notifications and has the objects looked at that mirrors have",
		Description: "As S3 sends them, directly or through SNS or EventBridge. The key may be the password of Basic authentication.",
		Security:    []map[string][]string{{"bearer": {string(auth.Upload)}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
		Responses: map[string]*huma.Response{"200": {Description: "Tasks are stored", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
			"default": problem},
	}
}
