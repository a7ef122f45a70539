package adopt

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// memory remembers the digests of files between passes, by path, size and time
// of change. It only spares reading: whatever it has lost, or can't be read of
// it, is found out again.
type memory struct {
	path string // "" remembers nothing beyond this process

	mu    sync.Mutex
	known map[string]memo
	file  *os.File // nil is none
	err   error    // of the last write
}

// memo is a line of the file.
type memo struct {
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
	SHA256   string `json:"sha256"`
}

// fresh is how long after its last change a file may change again without
// another time.
const fresh = 2 * time.Second

func openMemory(path string) (*memory, error) {
	m := &memory{path: path, known: map[string]memo{}}
	if path == "" {
		return m, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var l memo
		if json.Unmarshal(lines.Bytes(), &l) == nil && len(l.SHA256) == 64 { // the last may be cut off
			m.known[l.File] = l
		}
	}
	_, err = f.WriteString("\n")
	m.file = f
	return m, errors.Join(err, lines.Err())
}

// digest is what a file had when it was last read, if it has not changed since.
func (m *memory) digest(e entry) (digest [32]byte, ok bool) {
	m.mu.Lock()
	l, ok := m.known[e.name]
	m.mu.Unlock()
	if !ok || l.Bytes != e.bytes || l.Modified != e.modified.UnixNano() {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(l.SHA256))
	return digest, err == nil
}

// last is what a file had when it was last read.
func (m *memory) last(name string) (digest [32]byte, ok bool) {
	m.mu.Lock()
	l, ok := m.known[name]
	m.mu.Unlock()
	if !ok {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(l.SHA256))
	return digest, err == nil
}

// remember notes a digest of the file as it was listed.
func (m *memory) remember(e entry, digest [32]byte) {
	l := memo{e.name, e.bytes, e.modified.UnixNano(), hex.EncodeToString(digest[:])}
	if time.Since(e.modified) < fresh {
		l.Modified = 0 // it is read again
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[e.name] == l {
		return
	}
	m.known[e.name] = l
	if m.file == nil || m.err != nil {
		return
	}
	line, err := json.Marshal(l)
	if err == nil {
		_, err = m.file.Write(append(line, '\n'))
	}
	m.err = err
}

// tidy forgets files that are gone, and writes the file anew where it has grown
// beyond what it says.
func (m *memory) tidy(entries []entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.name] = true
	}
	for name := range m.known {
		if !there[name] {
			delete(m.known, name)
		}
	}
	if m.file == nil {
		return nil
	}
	next := m.path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	for _, l := range m.known {
		if err := lines.Encode(l); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	err = w.Flush()
	if err == nil {
		err = os.Rename(next, m.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	old := m.file
	m.file, m.err = f, nil
	return old.Close()
}

func (m *memory) close() error {
	if m.file == nil {
		return nil
	}
	if err := m.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return errors.Join(m.err, err)
	}
	return m.err
}
