package stored

import (
	"safelight/internal/catalog"
	"safelight/internal/format"
)

// Scanner is a row of a database's driver.
type Scanner interface{ Scan(...any) error }

// RenditionColumns and PublicationColumns make rows for ScanRendition and
// ScanPublication.
const (
	RenditionColumns   = `image_id, preset, variant, source, options, format, width, height, pages, bytes, digest, created, first_bytes, encoder, note`
	PublicationColumns = `image_id, preset, destination, owner, name, digest, bytes, state, updated`
)

// ScanRendition reads a row of RenditionColumns.
func ScanRendition(s Scanner) (catalog.Rendition, error) {
	var (
		r                              catalog.Rendition
		image, variant, source, digest []byte
		name                           string
		created                        int64
	)
	err := s.Scan(&image, &r.Preset, &variant, &source, &r.Options, &name, &r.Width, &r.Height, &r.Pages, &r.Bytes,
		&digest, &created, &r.FirstBytes, &r.Encoder, &r.Note)
	if err != nil {
		return catalog.Rendition{}, err
	}
	if len(image) != len(r.Image) || len(variant) != len(r.Variant) || len(source) != len(r.Source) || len(digest) != len(r.Digest) {
		return catalog.Rendition{}, Damaged(nil)
	}
	copy(r.Image[:], image)
	copy(r.Variant[:], variant)
	copy(r.Source[:], source)
	copy(r.Digest[:], digest)
	r.Format, r.Created = format.Parse(name), Time(created)
	return r, nil
}

// ScanPublication reads a row of PublicationColumns.
func ScanPublication(s Scanner) (catalog.Publication, error) {
	var (
		p             catalog.Publication
		image, digest []byte
		updated       int64
	)
	err := s.Scan(&image, &p.Preset, &p.Destination, &p.Owner, &p.Name, &digest, &p.Bytes, &p.State, &updated)
	if err != nil {
		return catalog.Publication{}, err
	}
	if len(image) != len(p.Image) || len(digest) != len(p.Digest) {
		return catalog.Publication{}, Damaged(nil)
	}
	copy(p.Image[:], image)
	copy(p.Digest[:], digest)
	p.Updated = Time(updated)
	return p, nil
}
