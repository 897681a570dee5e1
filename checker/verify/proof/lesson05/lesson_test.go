package lesson05

import (
	"testing"

	"iolab/checker/verify/proof"
)

func TestMain(m *testing.M) { proof.Main(m) }

func TestLesson(t *testing.T) { proof.Lesson(t, 5) }

func TestVariants(t *testing.T) { proof.Variants(t, 5) }
