package catalog

import (
	"context"
	"encoding/json"

	"safelight/internal/asset"
)

// Rendition is a preset's rendition of an image as it is kept for good; caches
// hold others. Its bytes lie in the home store under blob.RenditionName.
type Rendition struct {
	Image  asset.ID
	Preset string
	asset.Rendition
	FirstBytes int64  // of the fast rendition that was made first; Bytes is smaller once it is optimised
	Encoder    string // what optimised it, such as "guetzli 1.0.1"; "" for the fast one
	Note       string // JSON: what the optimisation measured; "" is none
}

// Compared tells whether other formats were tried beside this one; those that
// came out smaller are its alternatives.
func (r Rendition) Compared() bool {
	var n struct {
		Formats []string `json:"formats"`
	}
	return r.Note != "" && json.Unmarshal([]byte(r.Note), &n) == nil && len(n.Formats) > 0
}

// Renditions keeps the renditions of presets. Their bytes must lie in the home
// store before PutRendition, under blob.Home's Keep until it has returned.
type Renditions interface {
	// PutRendition stores or replaces the rendition of an image and preset. An
	// image that is not there (any more) is fault.NotFound. One that an encoder
	// has worked on (Encoder or Note) never replaces that of another variant:
	// fault.Conflict.
	PutRendition(ctx context.Context, owner string, r Rendition) error
	// RenditionOf finds one; where there is none it is fault.NotFound.
	RenditionOf(ctx context.Context, owner string, image asset.ID, preset string) (Rendition, error)
	// RenditionsOf lists those of an image by the names of their presets.
	RenditionsOf(ctx context.Context, owner string, image asset.ID) ([]Rendition, error)
	// KeptVariant finds a kept rendition of a variant, of whichever image: an
	// optimised one before a fast one, a small one before a large one. A
	// variant names its source's bytes, so this tells nothing to an owner who
	// does not have them. None is fault.NotFound.
	// Alternatives are found too.
	KeptVariant(ctx context.Context, v asset.VariantKey) (Rendition, error)
	Alternatives
}

// Alternatives are the renditions of presets in other formats than their main
// one, kept beside it for clients that accept them.
type Alternatives interface {
	// PutAlternatives replaces those of an image and preset. Once the main
	// rendition is not of that variant any more, it is fault.Conflict, and
	// those that were there are gone.
	PutAlternatives(ctx context.Context, owner string, main Rendition, list []Rendition) error
	// AlternativesTo lists those to a main rendition of a variant, of whichever
	// image (see KeptVariant), smallest first.
	AlternativesTo(ctx context.Context, main asset.VariantKey) ([]Rendition, error)
	// AlternativesOf lists those of an image by preset and format.
	AlternativesOf(ctx context.Context, owner string, image asset.ID) ([]Rendition, error)
}
