//go:build !clouds

package cdkblob

// clouds are services that this build has not.
var clouds map[string]service
