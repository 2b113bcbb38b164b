package kubelet

import "strings"

// expand puts the values of variables in the place of $(NAME), as Kubernetes does in commands, arguments and variables:
// $$ stands for one $, and the reference to a variable that is not there stays as it is.
func expand(text string, variables map[string]string) string {
	var expanded strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		expanded.WriteString(before)
		if !found {
			return expanded.String()
		}
		text = expandReference(after, variables, &expanded)
	}
}

// expandReference writes what stands for a $ and the text after it, and returns the text that remains.
func expandReference(after string, variables map[string]string, expanded *strings.Builder) string {
	if rest, escaped := strings.CutPrefix(after, "$"); escaped {
		expanded.WriteByte('$')
		return rest
	}
	inner, opened := strings.CutPrefix(after, "(")
	name, rest, closed := strings.Cut(inner, ")")
	if !opened || !closed {
		expanded.WriteByte('$')
		return after
	}
	if value, known := variables[name]; known {
		expanded.WriteString(value)
	} else {
		expanded.WriteString("$(" + name + ")")
	}
	return rest
}

func expandAll(texts []string, variables map[string]string) []string {
	expanded := make([]string, len(texts))
	for index, text := range texts {
		expanded[index] = expand(text, variables)
	}
	return expanded
}
