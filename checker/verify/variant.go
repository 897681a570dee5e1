package verify

import (
	"context"
	"fmt"
	"runtime"

	"iolab/checker/catalogue"
)

// Variant is a right server that is built in another way than the solution.
type Variant struct {
	Name string
	Way  string // in a sentence or two
	Only string // the GOOS on which it is built; empty: wherever the lesson runs
	changed
}

// Variants reads the variants of a lesson.
func Variants(root string, l catalogue.Lesson) (all []Variant, err error) {
	err = each(root, "variants", l, func(name string, text []byte) error {
		v, err := parseVariant(l, name, text)
		all = append(all, v)
		return err
	})
	return all, err
}

func parseVariant(l catalogue.Lesson, name string, text []byte) (Variant, error) {
	header, sentence, c, err := parseChanged(l, text)
	if err == nil && sentence == "" {
		err = fmt.Errorf("its header should have a sentence that says how it is built")
	}
	return Variant{Name: name, Way: sentence, Only: header["only"], changed: c}, err
}

// Here says whether the variant can be built on this system.
func (v Variant) Here() bool { return v.Only == "" || v.Only == runtime.GOOS }

// Check wants the variant to pass every step.
func (v Variant) Check(ctx context.Context, root string) error {
	b, remove, err := v.build(ctx, root, "variant-"+v.Name)
	if err != nil {
		return err
	}
	defer remove()
	_, err = passes(ctx, b, v.lesson, false)
	return err
}
