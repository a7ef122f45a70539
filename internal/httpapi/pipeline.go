package httpapi

import (
	"context"
	"encoding/json"
	"net/url"

	"safelight/internal/asset"
	"safelight/internal/pipeline"
	"safelight/internal/task"
)

// Pipeline tells what is made of images beforehand.
type Pipeline interface {
	// Presets are those that are made of every new image.
	Presets() []string
	// Describe tells how far an image is.
	Describe(ctx context.Context, img asset.Image) (pipeline.Description, error)
}

// TaskRef names a task that an upload has submitted.
type TaskRef struct {
	ID       string `json:"id"`
	Function string `json:"function"`
	Name     string `json:"name,omitempty"`
	State    string `json:"state"`
	URL      string `json:"url"`
}

// PresetInfo is a preset of an image.
type PresetInfo struct {
	Preset    string            `json:"preset"`
	State     string            `json:"state" enum:"waiting,rendered,optimized,outdated,failed" doc:"While it waits, asking for its URL renders it then and there"`
	URL       string            `json:"url"`
	Format    string            `json:"format,omitempty"`
	Width     int               `json:"width,omitempty"`
	Height    int               `json:"height,omitempty"`
	Bytes     int64             `json:"bytes,omitempty"`
	SHA256    string            `json:"sha256,omitempty"`
	Before    int64             `json:"bytes_before,omitempty" doc:"Of the fast rendition"`
	Saved     int64             `json:"bytes_saved,omitempty"`
	Ratio     float64           `json:"ratio,omitempty" doc:"bytes / bytes_before"`
	Encoder   string            `json:"encoder,omitempty" doc:"What optimised it"`
	Note      json.RawMessage   `json:"optimized,omitempty" doc:"What the optimisation measured"`
	Reason    string            `json:"reason,omitempty" doc:"Why it is not optimised"`
	Local     *bool             `json:"local,omitempty" doc:"Its bytes are in the home store; otherwise they have expired, and are fetched from a destination when somebody asks"`
	Error     string            `json:"error,omitempty" doc:"Why its task is dead"`
	Published []PublicationInfo `json:"published,omitempty"`

	Alternatives []AlternativeInfo `json:"alternatives,omitempty" doc:"Smaller files in other formats, for clients that accept them"`
}

// AlternativeInfo is a preset's rendition in another format than its main one.
type AlternativeInfo struct {
	Format  string          `json:"format"`
	Bytes   int64           `json:"bytes"`
	SHA256  string          `json:"sha256"`
	Encoder string          `json:"encoder"`
	Note    json.RawMessage `json:"optimized,omitempty" doc:"What the optimisation measured"`
}

// PublicationInfo is an object at a destination.
type PublicationInfo struct {
	Destination string `json:"destination"`
	Name        string `json:"name"`
	State       string `json:"state" enum:"writing,confirmed,withdrawn" doc:"Confirmed: its bytes were read back"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
}

// taskRefs are the tasks that an image was stored with.
func (s *Server) taskRefs(tasks []task.Task) []TaskRef {
	refs := make([]TaskRef, len(tasks))
	for i, t := range tasks {
		refs[i] = TaskRef{ID: t.ID.String(), Function: t.Function, Name: t.Name, State: t.State.String(), URL: s.base() + "/v1/tasks/" + t.ID.String()}
	}
	return refs
}

// promised are the presets of an image that has just been stored.
func (s *Server) promisedPresets(img asset.Image) []PresetInfo {
	names := s.Pipeline.Presets()
	infos := make([]PresetInfo, len(names))
	for i, name := range names {
		infos[i] = PresetInfo{Preset: name, State: pipeline.Waiting, URL: s.presetURL(img, name)}
	}
	return infos
}

func (s *Server) presetURL(img asset.Image, preset string) string {
	return s.urlOf(img) + "?preset=" + url.QueryEscape(preset)
}

// made adds to an image's description what the pipeline has made of it.
func (s *Server) made(ctx context.Context, img asset.Image, out *Image) error {
	d, err := s.Pipeline.Describe(ctx, img)
	if err != nil {
		return err
	}
	out.Tasks = s.taskRefs(d.Tasks)
	published := make(map[string][]PublicationInfo)
	for _, p := range d.Publications {
		published[p.Preset] = append(published[p.Preset], PublicationInfo{
			Destination: p.Destination, Name: p.Name, State: p.State.String(), Bytes: p.Bytes, SHA256: p.Digest.String(),
		})
	}
	out.Published, out.Local = published[""], &d.Local
	out.Source = &SourceInfo{Stored: d.AtRest.Form, Bytes: d.AtRest.Bytes, Reason: d.AtRest.Reason}
	out.Presets = make([]PresetInfo, 0, len(d.Presets))
	for _, p := range d.Presets {
		info := PresetInfo{Preset: p.Preset, State: p.State, URL: s.presetURL(img, p.Preset), Error: p.Error, Reason: p.Reason, Published: published[p.Preset]}
		if r := p.Rendition; r != nil {
			info.Local = &p.Local
			info.Format, info.Width, info.Height, info.Bytes, info.SHA256 = r.Format.String(), r.Width, r.Height, r.Bytes, r.Digest.String()
			info.Before, info.Saved, info.Encoder, info.Note = r.FirstBytes, r.FirstBytes-r.Bytes, r.Encoder, json.RawMessage(r.Note)
			info.Ratio = float64(r.Bytes) / float64(max(r.FirstBytes, 1))
		}
		for _, r := range p.Alternatives {
			info.Alternatives = append(info.Alternatives, AlternativeInfo{
				Format: r.Format.String(), Bytes: r.Bytes, SHA256: r.Digest.String(), Encoder: r.Encoder, Note: json.RawMessage(r.Note),
			})
		}
		out.Presets = append(out.Presets, info)
	}
	return nil
}
