package kubelet

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openTestLog(t *testing.T) *logFile {
	t.Helper()
	log, err := newLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.end)
	return log
}

func write(t *testing.T, log *logFile, text string) {
	t.Helper()
	if _, err := io.WriteString(log, text); err != nil {
		t.Fatal(err)
	}
}

func readLog(t *testing.T, log *logFile, options LogOptions) string {
	t.Helper()
	var text strings.Builder
	if err := log.read(t.Context(), options, &text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestLogGivesBackWhatWasWritten(t *testing.T) {
	log := openTestLog(t)
	long := strings.Repeat("x", 3*longestLine+5)
	for _, piece := range []string{"one\ntw", "o\n\n", long, "\nlast"} {
		write(t, log, piece)
	}
	log.end()
	if text := readLog(t, log, LogOptions{Tail: -1}); text != "one\ntwo\n\n"+long+"\nlast" {
		t.Errorf("the log has %d bytes: %.40q", len(text), text)
	}
	if _, err := log.Write([]byte("late")); err == nil {
		t.Error("something is written after the end")
	}
}

func TestLogTail(t *testing.T) {
	log := openTestLog(t)
	var lines []string
	for index := range 3000 {
		lines = append(lines, fmt.Sprintf("line %d of a log that is longer than what is read at once\n", index))
	}
	write(t, log, strings.Join(lines, ""))
	for _, count := range []int{0, 1, 2, 2999, 3000, 4000} {
		expected := strings.Join(lines[max(0, len(lines)-count):], "")
		if text := readLog(t, log, LogOptions{Tail: int64(count)}); text != expected {
			t.Errorf("the last %d lines have %d bytes, not %d", count, len(text), len(expected))
		}
	}
}

func TestLogLimitAndTimes(t *testing.T) {
	log := openTestLog(t)
	write(t, log, "one\ntwo\n")
	if text := readLog(t, log, LogOptions{Tail: -1, Limit: 5}); text != "one\nt" {
		t.Errorf("5 bytes are %q", text)
	}
	if text := readLog(t, log, LogOptions{Tail: -1, Since: time.Now().Add(time.Hour)}); text != "" {
		t.Errorf("nothing was written since then, but %q", text)
	}
	stamped := readLog(t, log, LogOptions{Tail: 1, Timestamps: true})
	stamp, text, _ := strings.Cut(stamped, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || text != "two\n" {
		t.Errorf("a line with its time is %q: %v", stamped, err)
	}
}

func TestFollowedLogEndsWithTheContainer(t *testing.T) {
	log := openTestLog(t)
	write(t, log, "before\n")
	reader, writer := io.Pipe()
	done := make(chan error)
	go func() {
		err := log.read(t.Context(), LogOptions{Tail: -1, Follow: true}, writer)
		writer.Close()
		done <- err
	}()
	first := make([]byte, 7)
	if _, err := io.ReadFull(reader, first); err != nil || string(first) != "before\n" {
		t.Fatalf("read %q: %v", first, err)
	}
	write(t, log, "while\nrest")
	log.end()
	rest, err := io.ReadAll(reader)
	if err != nil || string(rest) != "while\nrest" {
		t.Errorf("read %q: %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
