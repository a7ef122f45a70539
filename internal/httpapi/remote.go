package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/ingest"
)

// showRemote answers with a rendition of what a signed URL names. The signature
// lets the operator's site alone say what is fetched; who may look at it is
// decided as for any picture.
func (s *Server) showRemote(w http.ResponseWriter, r *http.Request) {
	s.show(func(r *http.Request, owner string) (string, func(context.Context) (asset.Image, error), error) {
		named, err := s.Remote.Signer.Verify(r.PathValue("signature"), r.PathValue("encoded"), r.URL.RawQuery)
		if err != nil {
			return "", nil, err
		}
		clean, key, err := s.Remote.Name(named)
		if err != nil {
			return "", nil, err
		}
		return key, func(ctx context.Context) (asset.Image, error) {
			rc := http.NewResponseController(w)
			_ = rc.SetWriteDeadline(time.Time{}) // fetching and storing have limits of their own
			defer func() { _ = rc.SetWriteDeadline(time.Now().Add(s.config.AnswerTime)) }()
			return s.Remote.Image(ctx, owner, clean)
		}, nil
	})(w, r)
}

type fetchWish struct {
	Token string `header:"Idempotency-Key" doc:"A retried request with the same key answers as before instead of storing twice."`
	Body  struct {
		URL      string   `json:"url" doc:"Where the file is, at one of the hosts in remote.hosts"`
		Key      string   `json:"key,omitempty" doc:"Exact key; an image there is replaced"`
		Prefix   string   `json:"prefix,omitempty" doc:"Folder for a key that is taken from the URL's last segment"`
		Tags     []string `json:"tags,omitempty"`
		Category string   `json:"category,omitempty"`
	}
}

type fetchAnswer struct {
	Location string `header:"Location"`
	Body     Uploaded
}

// fetchOperation registers uploads by URL.
func (s *Server) fetchOperation(api huma.API) {
	op := s.operation(http.MethodPost, "/v1/images", "fetch-image", "Fetches a file by its URL and stores it", auth.Upload)
	op.DefaultStatus = http.StatusCreated
	op.Errors = append(op.Errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	huma.Register(api, op, s.fetchImage)
}

func (s *Server) fetchImage(ctx context.Context, in *fetchWish) (*fetchAnswer, error) {
	start := time.Now()
	stored, err := s.fetchFile(ctx, in)
	outcome := "stored"
	if err != nil {
		outcome = fault.Of(err).String()
	}
	s.Metrics.Upload(outcome, stored.Image.Source.Bytes, time.Since(start))
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	body := s.uploaded(stored)
	return &fetchAnswer{Location: body.URL, Body: body}, nil
}

// fetchFile holds the fields against the rules of uploads before anything is
// fetched.
func (s *Server) fetchFile(ctx context.Context, in *fetchWish) (catalog.Result, error) {
	f := ingest.File{Owner: owner(ctx), Key: in.Body.Key, Prefix: in.Body.Prefix, Category: in.Body.Category}
	for _, value := range []string{f.Key, strings.TrimSuffix(f.Prefix, "/"), f.Category} {
		if err := checkUnless(value); err != nil {
			return catalog.Result{}, err
		}
	}
	var err error
	if f.Tags, err = splitTags(strings.Join(in.Body.Tags, ",")); err != nil {
		return catalog.Result{}, err
	}
	if f.Replay.Token, err = checkToken(in.Token); err != nil {
		return catalog.Result{}, err
	}
	if f.Replay.Token != "" {
		f.Replay.Token = "POST /v1/images " + f.Replay.Token
	}
	if f.Key != "" {
		f.Rule = catalog.Replace
	}
	return s.Remote.Add(ctx, in.Body.URL, f)
}

// remoteOperation describes the route of signed URLs.
func remoteOperation(shown map[string]*huma.Response) *huma.Operation {
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Operation{
		Method: http.MethodGet, Path: "/remote/{signature}/{encoded}", OperationID: "show-remote-image", Tags: []string{"images"},
		Summary:     "The file at a URL, fetched when it is first asked for; with any parameter a rendition",
		Description: "safelight sign makes these paths. There are none while remote.keys is empty.",
		Parameters: append([]*huma.Param{
			{Name: "signature", In: "path", Required: true, Schema: text, Description: "HMAC-SHA256 of the encoded URL, then ? and the query if there is one (unless remote.sign_options is off), in base64url without padding; whole, or cut to no less than 16 bytes."},
			{Name: "encoded", In: "path", Required: true, Schema: text, Description: "The URL in base64url without padding."},
		}, renditionParams()...),
		Responses: shown,
	}
}
