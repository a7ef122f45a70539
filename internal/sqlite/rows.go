package sqlite

import (
	"encoding/json"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
)

// row is what of an image must be encoded; that is done before the writer's
// goroutine has the job.
type row struct {
	header    string
	tags      any // JSON, or nil
	thumbHash any // bytes, or nil
}

func imageRow(img asset.Image) (row, error) {
	var r row
	var err error
	if r.header, err = stored.Header(img.Source.Header); err != nil {
		return r, err
	}
	if len(img.Tags) > 0 {
		text, err := json.Marshal(img.Tags)
		if err != nil {
			return r, err
		}
		r.tags = string(text)
	}
	if len(img.Looks.ThumbHash) > 0 {
		r.thumbHash = img.Looks.ThumbHash
	}
	return r, nil
}

// scanner is a *sql.Row or *sql.Rows.
type scanner = stored.Scanner

// scanImage reads a row of imageColumns.
func scanImage(s scanner) (asset.Image, error) {
	var (
		img                    asset.Image
		id, digest, tags, head []byte
		created, phash         int64
	)
	err := s.Scan(&id, &img.Owner, &img.Key, &img.Name, &img.Category, &tags, &created,
		&img.Looks.Verified, &img.Looks.ThumbHash, &img.Looks.BlurHash, &phash, &digest, &img.Source.Bytes, &head)
	if err != nil {
		return asset.Image{}, err
	}
	if len(id) != len(img.ID) || len(digest) != len(img.Source.Digest) {
		return asset.Image{}, stored.Damaged(nil)
	}
	copy(img.ID[:], id)
	copy(img.Source.Digest[:], digest)
	img.Created, img.Looks.PHash = stored.Time(created), uint64(phash)
	if tags != nil {
		if err := json.Unmarshal(tags, &img.Tags); err != nil {
			return asset.Image{}, stored.Damaged(err)
		}
	}
	img.Source.Header, err = stored.ParseHeader(head)
	return img, err
}
