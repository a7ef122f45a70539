package stored

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/task"
)

// What has been written must stay readable, so the forms are held fast here.
func TestHeader(t *testing.T) {
	t.Parallel()
	for text, h := range map[string]format.Header{
		`{"w":600,"h":400,"pages":1,"orient":6,"color":"rgb","bands":3,"depth":8,"icc":true,"gps":true,"scans":10,"format":"jpeg"}`: {
			Format: format.JPEG, Width: 600, Height: 400, Pages: 1, Orientation: 6, Color: format.RGB, Bands: 3, BitDepth: 8, ICC: true, Location: true, Scans: 10,
		},
		`{"w":5,"h":7,"pages":12,"alpha":true,"anim":true,"color":"palette","format":"gif","maxpx":35}`: {
			Format: format.GIF, Width: 5, Height: 7, Pages: 12, Alpha: true, Animated: true, Color: format.Palette, MaxPixels: 35,
		},
	} {
		if got, err := Header(h); got != text || err != nil {
			t.Errorf("%s, %v; expected %s", got, err, text)
		}
		if got, err := ParseHeader([]byte(text)); got != h || err != nil {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	if _, err := Header(format.Header{Color: 99}); fault.Of(err) != fault.Internal {
		t.Error(err)
	}
	if _, err := ParseHeader([]byte(`{"w":`)); fault.Of(err) != fault.Internal {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	n := task.New{Owner: "o", Function: "f", Name: "n", Args: json.RawMessage(`{ "a":  1 }`), Image: asset.ID{1, 2}, Priority: -3, RunAt: Time(1_700_000_000_123)}
	text, err := New(&n)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseNew([]byte(text), "o"); err != nil || !reflect.DeepEqual(*back, n) {
		t.Errorf("%+v, %v; expected %+v", back, err, n)
	}
	if text, err := New(nil); text != "" || err != nil {
		t.Error(text, err)
	}
	if back, err := ParseNew(nil, "o"); back != nil || err != nil {
		t.Error(back, err)
	}
	if _, err := ParseNew([]byte("["), "o"); fault.Of(err) != fault.Internal {
		t.Error(err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	if got := TimeOrZero(Millis(at)); !got.Equal(at.Truncate(time.Millisecond)) || got.Location() != time.UTC {
		t.Error(got)
	}
	if Millis(time.Time{}) != 0 || !TimeOrZero(0).IsZero() || Time(0).IsZero() {
		t.Error("the zero time is not kept")
	}
	if id := ID(asset.ID{}); id == nil || len(id) != 0 {
		t.Errorf("%v", id)
	}
}
