package lesson07

import (
	"testing"

	"iolab/checker/verify/proof"
)

func TestMain(m *testing.M) { proof.Main(m) }

func TestLesson(t *testing.T) { proof.Lesson(t, 7) }

func TestVariants(t *testing.T) { proof.Variants(t, 7) }
