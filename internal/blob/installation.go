package blob

import (
	"context"
	"io"
	"strings"

	"safelight/internal/fault"
)

// InstallationName is where in a home store is told which installation it belongs
// to.
const InstallationName = "safelight-home"

// longestName is more than a name of an installation has, in bytes.
const longestName = 100

// InstallationOf is the installation that a home store belongs to, as the store
// itself says; "" is none.
func InstallationOf(ctx context.Context, store Store) (string, error) {
	r, err := store.Open(ctx, InstallationName)
	if err != nil {
		if fault.Of(err) == fault.NotFound {
			return "", nil
		}
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, longestName))
	return strings.TrimSpace(string(text)), err
}

// NameInstallation says which installation a home store belongs to.
func NameInstallation(ctx context.Context, store Store, name string) error {
	w, err := store.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.WriteString(w, name+"\n"); err != nil {
		return err
	}
	return w.Commit(ctx, InstallationName)
}
