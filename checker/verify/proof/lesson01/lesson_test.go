package lesson01

import (
	"testing"

	"iolab/checker/verify/proof"
)

func TestMain(m *testing.M) { proof.Main(m) }

func TestLesson(t *testing.T) { proof.Lesson(t, 1) }

func TestVariants(t *testing.T) { proof.Variants(t, 1) }
