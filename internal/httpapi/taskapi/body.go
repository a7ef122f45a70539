package taskapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// maxBody is the longest JSON body that is read.
const maxBody = 8 << 20

// readBody reads a JSON body to its end, so that a client which goes away is
// noticed from then on.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, tooLong(r.ContentLength)
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return nil, bodyError(err)
	}
	if buf.Len() > maxBody {
		return nil, tooLong(int64(buf.Len()))
	}
	if !utf8.Valid(buf.Bytes()) { // encoding/json would put U+FFFD in its place in silence
		return nil, fault.New(fault.Invalid, "the body is not UTF-8")
	}
	return buf.Bytes(), nil
}

func tooLong(got int64) error {
	return fault.Limit(fault.TooLarge, "body length", maxBody, got, "the body has more than %d bytes", maxBody)
}

// bodyError classifies what reading a body failed with.
func bodyError(err error) error {
	if fault.As(err) != nil {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "the body ended early")
}

// decode reads one JSON value; fields that mean nothing are refused, so that a
// misspelt one is not ignored.
func decode(body []byte, into any) error {
	if crowded(body) {
		return fault.Limit(fault.Invalid, "items of one request", task.MaxBatch, task.MaxBatch+1, "expected 1 to %d tasks or reports but received %d or more", task.MaxBatch, task.MaxBatch+1)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return inWords(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, "the body goes on after the JSON value")
	}
	return nil
}

// crowded tells whether a list in the body's object has more items than any
// may. It is for before they are decoded, which takes a hundred times the room
// of the shortest items.
func crowded(body []byte) bool {
	depth, items, quoted, escaped := 0, 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth == 2 {
				items = 0
			}
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 2:
			if items++; items >= task.MaxBatch {
				return true
			}
		}
	}
	return false
}

// decodeOptional is decode, for a body that may be empty.
func decodeOptional(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	return decode(body, into)
}

// inWords says what encoding/json found.
func inWords(err error) error {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType):
		field := strings.TrimPrefix(wrongType.Field, "Submission.") // the embedded struct is none of the client's
		if field == "" {
			return fault.New(fault.Invalid, "expected %s but received %s", kindInWords(wrongType.Type), wrongType.Value)
		}
		return fault.New(fault.Invalid, "%s: expected %s but received %s", field, kindInWords(wrongType.Type), wrongType.Value)
	case errors.As(err, &syntax):
		return fault.New(fault.Invalid, "the body is no JSON: %s, at byte %d", syntax, syntax.Offset)
	case err == io.EOF:
		return fault.New(fault.Invalid, "the body is empty; expected a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "the body is no JSON: it ends early")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.New(fault.Invalid, "%.80s is no field here", name)
	}
	return fault.Wrap(fault.Invalid, err, "the body can't be read as JSON")
}

func kindInWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// inItem finds the item of a list that decode refused, and names it; failed is
// the answer where it can't be found.
func inItem[T any](body []byte, list string, failed error) error {
	var outer map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(body, &outer) != nil || json.Unmarshal(outer[list], &items) != nil {
		return failed
	}
	for i, item := range items {
		if err := decode(item, new(T)); err != nil {
			return at(list, i, err)
		}
	}
	return failed
}

// at puts the place in a list before an error's message.
func at(list string, i int, err error) error {
	e := fault.As(err)
	if e == nil {
		return err
	}
	placed := *e
	placed.Message = fmt.Sprintf("%s[%d]: %s", list, i, e.Message)
	return &placed
}

// duration reads a field such as "90s"; "" is fallback.
func duration(field, text string, fallback, low, high time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, "%s: expected a duration such as 90s or 1h30m but received %.40q", field, text)
	}
	if d < low || d > high {
		return 0, fault.New(fault.Invalid, "%s: %s is not from %s to %s", field, d, low, high)
	}
	return d, nil
}

// writeJSON answers a value. What it can't encode is a defect.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes())
	return nil
}
