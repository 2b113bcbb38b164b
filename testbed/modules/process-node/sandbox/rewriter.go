package sandbox

import (
	"slices"
	"strings"
)

// rewriter puts the paths of the machine in the place of a container's mount paths.
type rewriter []Mount

func newRewriter(mounts []Mount) rewriter {
	sorted := slices.Clone(mounts)
	slices.SortFunc(sorted, func(a, b Mount) int { return len(b.Target) - len(a.Target) }) // the innermost first
	return sorted
}

func (r rewriter) all(texts []string) []string {
	rewritten := make([]string, len(texts))
	for index, text := range texts {
		rewritten[index] = r.one(text)
	}
	return rewritten
}

// one rewrites the mount paths in a text, wherever one begins a path: not within a longer name.
func (r rewriter) one(text string) string {
	var rewritten strings.Builder
	for rest := 0; rest < len(text); {
		mount := r.at(text, rest)
		if mount == nil {
			rewritten.WriteByte(text[rest])
			rest++
			continue
		}
		rewritten.WriteString(mount.Source)
		rest += len(mount.Target)
	}
	return rewritten.String()
}

func (r rewriter) at(text string, start int) *Mount {
	if start > 0 && (isNameByte(text[start-1]) || text[start-1] == '/') {
		return nil
	}
	for index := range r {
		target := strings.TrimSuffix(r[index].Target, "/")
		end := start + len(target)
		if target != "" && strings.HasPrefix(text[start:], target) && (end == len(text) || !isNameByte(text[end])) {
			return &Mount{Source: r[index].Source, Target: target}
		}
	}
	return nil
}

func isNameByte(char byte) bool {
	return char == '-' || char == '_' || char == '.' || char >= '0' && char <= '9' ||
		char >= 'a' && char <= 'z' || char >= 'A' && char <= 'Z'
}
