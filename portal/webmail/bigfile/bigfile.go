// Package bigfile keeps the bytes of files that are too large for a message, and
// has them looked at by a virus scanner.
//
// It promises: what Append has answered is on the disk; a scanner that does not
// answer is an error, never a clean file.
package bigfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Store keeps files by an ID of letters and digits. Disk is the one there is; an
// object store can stand in its place.
type Store interface {
	// Append writes r at offset and returns how many bytes are kept. What lay
	// behind offset before may be overwritten.
	Append(ctx context.Context, id string, offset int64, r io.Reader) (int64, error)
	// Open reads a file. The error is fs.ErrNotExist when there is none.
	Open(ctx context.Context, id string) (File, error)
	// Remove forgets a file; it is no error when there is none.
	Remove(ctx context.Context, id string) error
}

// File is an open file.
type File interface {
	io.ReadSeekCloser
}

// Disk keeps each file in a folder, under a prefix of its ID.
type Disk struct{ dir string }

// NewDisk keeps files in dir, which is made when it is not there.
func NewDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of large files: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return nil, fmt.Errorf("folder of large files: %w", err)
	}
	_ = probe.Close()
	return &Disk{dir}, os.Remove(probe.Name())
}

var errName = errors.New("bigfile: not an ID")

func (d *Disk) path(id string) (string, error) {
	if len(id) < 8 || len(id) > 64 {
		return "", errName
	}
	for i := range len(id) {
		if c := id[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return "", errName
		}
	}
	return filepath.Join(d.dir, id[:2], id), nil
}

// Append writes through to the disk before it answers.
func (d *Disk) Append(_ context.Context, id string, offset int64, r io.Reader) (int64, error) {
	path, err := d.path(id)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	n, errCopy := io.Copy(io.NewOffsetWriter(f, offset), r)
	errSync := f.Sync()
	errClose := f.Close()
	if errSync != nil || errClose != nil {
		return 0, errors.Join(errSync, errClose)
	}
	return n, errCopy
}

// Open reads a file.
func (d *Disk) Open(_ context.Context, id string) (File, error) {
	path, err := d.path(id)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Remove forgets a file.
func (d *Disk) Remove(_ context.Context, id string) error {
	path, err := d.path(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// scanFor is how long a scanner may take for one file.
const scanFor = 10 * time.Minute
