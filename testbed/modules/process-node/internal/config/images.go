package config

import (
	"regexp"
	"strings"
)

// Image is an entry of the image table: what runs for the images that it stands for.
type Image struct {
	// Pattern is an image, with * for any text.
	Pattern string `json:"image"`
	// Command is the image's entry point.
	Command []string `json:"command"`
	// Args follow the entry point where a pod gives neither command nor arguments.
	Args []string `json:"args"`
	// Env has the image's variables; a pod's own go before them.
	Env map[string]string `json:"env"`
}

const (
	pathComponent = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	domain        = `(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?`
	tag           = `(?::[\w][\w.-]{0,127})?`
	digest        = `(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?`
)

var reference = regexp.MustCompile(`^` + domain + pathComponent + `(?:/` + pathComponent + `)*` + tag + digest + `$`)

// IsReference tells whether an image's name has the form that registries understand.
func IsReference(image string) bool { return reference.MatchString(image) }

// FindImage returns the first entry of the table that stands for an image; nil for none.
func (c *Config) FindImage(image string) *Image {
	names := []string{image}
	if last := image[strings.LastIndex(image, "/")+1:]; !strings.ContainsAny(last, ":@") {
		names = append(names, image+":latest") // what a registry understands by a name without a tag
	}
	for index := range c.Images {
		for _, name := range names {
			if c.Images[index].standsFor(name) {
				return &c.Images[index]
			}
		}
	}
	return nil
}

// Patterns lists the images of the table.
func (c *Config) Patterns() string {
	patterns := make([]string, len(c.Images))
	for index, image := range c.Images {
		patterns[index] = image.Pattern
	}
	return strings.Join(patterns, ", ")
}

func (i *Image) standsFor(name string) bool {
	parts := strings.Split(i.Pattern, "*")
	rest, found := strings.CutPrefix(name, parts[0])
	if len(parts) == 1 || !found {
		return found && rest == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, found = strings.Cut(rest, part); !found {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
