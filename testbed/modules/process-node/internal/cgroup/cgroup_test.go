package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAKillForMemoryIsReadFromEitherVersion(t *testing.T) {
	for name, test := range map[string]struct {
		file, content string
		v2, killed    bool
	}{
		"version 1, killed":     {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", false, true},
		"version 1, not killed": {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", false, false},
		"version 2, killed":     {"memory.events", "low 0\nmax 7\noom 1\noom_kill 2\n", true, true},
		"version 2, only full":  {"memory.events", "low 0\nmax 7\noom 1\noom_kill 0\n", true, false},
		"the other's file":      {"memory.events", "oom_kill 1\n", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			group := &Group{t.TempDir(), test.v2}
			if err := os.WriteFile(filepath.Join(group.folder, test.file), []byte(test.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if group.OOMKilled() != test.killed {
				t.Fatalf("killed for memory: %v, of\n%s", group.OOMKilled(), test.content)
			}
		})
	}
}

func TestAGroupIsMadeAndGoesWithItsNode(t *testing.T) {
	controller, err := Find(t.TempDir())
	if err != nil {
		t.Skipf("no group with a memory limit can be made here: %v", err)
	}
	defer controller.Close()
	group, err := controller.New("main", 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	file := "memory.limit_in_bytes"
	if controller.v2 {
		file = "memory.max"
	}
	limit, err := os.ReadFile(filepath.Join(group.folder, file))
	if err != nil || strings.TrimSpace(string(limit)) != "67108864" {
		t.Fatalf("the limit: %q, %v", limit, err)
	}
	if _, err := os.Stat(group.Join()); err != nil || group.OOMKilled() {
		t.Fatalf("a group that nothing runs in: %v, killed for memory: %v", err, group.OOMKilled())
	}
	controller.Close()
	if _, err := os.Stat(controller.root); !os.IsNotExist(err) {
		t.Fatalf("the groups of the node are still there: %v", err)
	}
}

func TestWhatAKilledNodeLeftIsSwept(t *testing.T) {
	state := t.TempDir()
	controller, err := Find(state)
	if err != nil {
		t.Skipf("no group with a memory limit can be made here: %v", err)
	}
	defer controller.Close()
	if _, err := controller.New("main", 64<<20); err != nil {
		t.Fatal(err)
	}
	if remains := Remains(state); len(remains) != 1 || remains[0] != controller.root {
		t.Fatalf("what is there: %v", remains)
	}
	Sweep(t.TempDir())
	if len(Remains(state)) != 1 {
		t.Fatal("the groups of a node that runs were swept as another's")
	}
	Sweep(state)
	if remains := Remains(state); len(remains) != 0 {
		t.Fatalf("what is left: %v", remains)
	}
}
