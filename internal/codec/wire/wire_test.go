package wire

import (
	"errors"
	"strings"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/plan"
)

func TestErrorsTravel(t *testing.T) {
	for _, k := range fault.Kinds() {
		sent := &fault.Error{Kind: k, Code: "some-code", Message: "a sentence", Cause: errors.New("a cause")}
		got := FromError(sent).Fault()
		if got.Kind != k || got.Code != sent.Code || got.Error() != sent.Error() {
			t.Errorf("%v arrived as %v (%v)", sent, got, got.Kind)
		}
	}
	if got := FromError(errors.New("secret")).Fault(); got.Kind != fault.Internal || strings.Contains(got.Message, "secret") {
		t.Error(got)
	}
}

func TestLongMessagesAreRefused(t *testing.T) {
	job := plan.Job{Steps: []plan.Step{{Text: &plan.Text{String: strings.Repeat("x", MaxMessage)}}}}
	if _, err := Encode(job); fault.Of(err) != fault.Invalid {
		t.Error(err)
	}
}
