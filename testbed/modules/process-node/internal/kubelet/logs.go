package kubelet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

const (
	longestLine = 16 << 10 // a longer one is kept in parts, as container runtimes do
	whole       = 'F'
	part        = 'P'
)

// logFile keeps what a container writes: a time, whether the line ends here, and the text.
type logFile struct {
	path string

	mutex   sync.Mutex
	file    *os.File
	partial []byte
	grown   chan struct{} // closed when there is more to read
	ended   bool
}

func newLog(path string) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	return &logFile{path: path, file: file, grown: make(chan struct{})}, nil
}

// Write keeps whole lines, and holds back what does not end yet.
func (l *logFile) Write(content []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.ended {
		return 0, os.ErrClosed
	}
	l.partial = append(l.partial, content...)
	var lines bytes.Buffer
	for {
		end := bytes.IndexByte(l.partial, '\n')
		switch {
		case end >= 0 && end <= longestLine:
			writeLine(&lines, whole, l.partial[:end])
			l.partial = l.partial[end+1:]
			continue
		case len(l.partial) > longestLine:
			writeLine(&lines, part, l.partial[:longestLine])
			l.partial = l.partial[longestLine:]
			continue
		}
		break
	}
	return len(content), l.append(lines.Bytes())
}

func writeLine(lines *bytes.Buffer, mark byte, text []byte) {
	lines.WriteString(time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"))
	lines.Write([]byte{' ', mark, ' '})
	lines.Write(text)
	lines.WriteByte('\n')
}

func (l *logFile) append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := l.file.Write(lines)
	close(l.grown)
	l.grown = make(chan struct{})
	return err
}

// end writes what is held back; nothing comes after it.
func (l *logFile) end() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.ended {
		return
	}
	if len(l.partial) > 0 {
		var lines bytes.Buffer
		writeLine(&lines, part, l.partial)
		_ = l.append(lines.Bytes()) // what ended is told by its exit code, a full disk by the next write
	}
	l.ended = true
	_ = l.file.Close()
	close(l.grown)
}

// state says whether more may come, and gives a channel that closes when it has.
func (l *logFile) state() (ended bool, grown <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.ended, l.grown
}

// LogOptions choose what is read of a log.
type LogOptions struct {
	Follow, Previous, Timestamps bool
	// Tail is how many lines are read from the end; negative for all.
	Tail int64
	// Since is the time before which nothing is read.
	Since time.Time
	// Limit is how many bytes are read; 0 for no limit.
	Limit int64
}

// read copies the log to a writer; with Follow it returns when the container has ended.
func (l *logFile) read(ctx context.Context, options LogOptions, output io.Writer) error {
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	if options.Limit > 0 {
		output = &limited{output, options.Limit}
	}
	if options.Tail >= 0 {
		start, err := tailOffset(file, options.Tail)
		if err != nil {
			return err
		}
		if _, err := file.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	reader := bufio.NewReaderSize(file, 64<<10)
	for {
		ended, grown := l.state()
		if err := copyLines(reader, options, output); err != nil {
			return ignoreLimit(err)
		}
		if ended || !options.Follow {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil
		}
	}
}

// copyLines copies lines until there is none; lines are only ever appended whole.
func copyLines(reader *bufio.Reader, options LogOptions, output io.Writer) error {
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		stamp, rest, _ := bytes.Cut(line, []byte(" "))
		when, err := time.Parse(time.RFC3339Nano, string(stamp))
		if err != nil || len(rest) < 2 {
			return errors.New("the log is damaged: a line without a time")
		}
		if when.Before(options.Since) {
			continue
		}
		text := rest[2:]
		if rest[0] == part {
			text = text[:len(text)-1]
		}
		if options.Timestamps {
			text = append(append(bytes.Clone(stamp), ' '), text...)
		}
		if _, err := output.Write(text); err != nil {
			return err
		}
	}
}

// tailOffset finds where the last lines of a file begin.
func tailOffset(file *os.File, lines int64) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || lines == 0 {
		return end, err
	}
	block := make([]byte, 64<<10)
	for seen := int64(0); end > 0; {
		size := min(end, int64(len(block)))
		end -= size
		if _, err := file.ReadAt(block[:size], end); err != nil {
			return 0, err
		}
		for index := size - 1; index >= 0; index-- {
			if block[index] != '\n' {
				continue
			}
			if seen++; seen > lines {
				return end + index + 1, nil
			}
		}
	}
	return 0, nil
}

var errLimit = errors.New("the limit is reached")

func ignoreLimit(err error) error {
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

type limited struct {
	output io.Writer
	left   int64
}

func (l *limited) Write(content []byte) (int, error) {
	if int64(len(content)) >= l.left {
		written, err := l.output.Write(content[:l.left])
		l.left -= int64(written)
		if err == nil {
			err = errLimit
		}
		return written, err
	}
	written, err := l.output.Write(content)
	l.left -= int64(written)
	return written, err
}
