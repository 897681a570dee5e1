package lesson04

import (
	"testing"

	"iolab/checker/verify/proof"
)

func TestMain(m *testing.M) { proof.Main(m) }

func TestLesson(t *testing.T) { proof.Lesson(t, 4) }

func TestVariants(t *testing.T) { proof.Variants(t, 4) }
