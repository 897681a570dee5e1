package mutants03

import (
	"testing"

	"iolab/checker/verify/proof"
)

func TestMain(m *testing.M) { proof.Main(m) }

func TestMutants(t *testing.T) { proof.Mutants(t, 3) }
