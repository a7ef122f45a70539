package postgres

import (
	"encoding/json"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
)

// row is what of an image must be encoded.
type row struct {
	header    string
	tags      *string // JSON
	thumbHash []byte
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
		list := string(text)
		r.tags = &list
	}
	if len(img.Looks.ThumbHash) > 0 {
		r.thumbHash = img.Looks.ThumbHash
	}
	return r, nil
}

// scanner is a pgx.Row or pgx.Rows.
type scanner = stored.Scanner

// scanImage reads a row of imageColumns.
func scanImage(s scanner) (asset.Image, error) {
	var (
		img            asset.Image
		id, digest     []byte
		tags           *string
		head           string
		created, phash int64
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
		if err := json.Unmarshal([]byte(*tags), &img.Tags); err != nil {
			return asset.Image{}, stored.Damaged(err)
		}
	}
	img.Source.Header, err = stored.ParseHeader([]byte(head))
	return img, err
}
