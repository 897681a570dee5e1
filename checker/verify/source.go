package verify

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"iolab/checker/catalogue"
	"iolab/checker/workspace"
)

// source is one parsed Go file.
type source struct {
	text []byte
	fset *token.FileSet
	file *ast.File
}

func parse(name string, text []byte) (source, error) {
	s := source{text: text, fset: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.SkipObjectResolution|parser.ParseComments)
	return s, err
}

func (s source) offset(p token.Pos) int { return s.fset.Position(p).Offset }

func (s source) slice(n ast.Node) []byte { return s.text[s.offset(n.Pos()):s.offset(n.End())] }

// funcs are the functions of the file, by receiver and name.
func (s source) funcs() map[string]*ast.FuncDecl {
	all := map[string]*ast.FuncDecl{}
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all[key(f)] = f
		}
	}
	return all
}

func key(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return "?." + f.Name.Name
}

// unwritten is the first step that f's body says is to be written, 0 if none.
func unwritten(f *ast.FuncDecl, l catalogue.Lesson) (step int) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "NotImplemented" {
			return true
		}
		id, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		for _, s := range l.Steps {
			if id.Value == strconv.Quote(l.ID(s.Number)) && (step == 0 || s.Number < step) {
				step = s.Number
			}
		}
		return true
	})
	return step
}

// partial is the solution with the skeleton's functions in every place that
// belongs to a step after k: what a reader has who has written k steps.
func partial(root string, l catalogue.Lesson, k int) (map[string][]byte, error) {
	skeleton, err := workspace.Skeleton(root, l)
	if err != nil {
		return nil, err
	}
	files, err := sources(l.Solution(root))
	if err != nil {
		return nil, err
	}
	stubs := map[string][]byte{}
	steps := map[int]bool{}
	for name, text := range skeleton {
		s, err := parse(name, text)
		if err != nil {
			return nil, err
		}
		for key, f := range s.funcs() {
			step := unwritten(f, l)
			steps[step] = true
			if step > k {
				stubs[name+":"+key] = s.slice(bodyOf(f))
			}
		}
	}
	for _, s := range l.Steps {
		if !steps[s.Number] {
			return nil, fmt.Errorf("the skeleton should have a function that panics with NotImplemented(%q, …)", l.ID(s.Number))
		}
	}
	for name, text := range files {
		s, err := parse(name, text)
		if err != nil {
			return nil, err
		}
		mine := map[string][]byte{} // two files, for two systems, may have functions of one name
		for key, stub := range stubs {
			if file, key, _ := strings.Cut(key, ":"); file == name {
				mine[key] = stub
				delete(stubs, name+":"+key)
			}
		}
		if files[name], err = s.withBodies(mine); err != nil {
			return nil, err
		}
		for key := range mine {
			return nil, fmt.Errorf("the skeleton's %s is not in the solution's %s", key, name)
		}
	}
	for key := range stubs {
		return nil, fmt.Errorf("the skeleton's %s is not in the solution", key)
	}
	return files, nil
}

// bodyOf is the part of f from its parameters on: a stub need not name them as the
// solution does.
func bodyOf(f *ast.FuncDecl) ast.Node { return signatureAndBody{f} }

type signatureAndBody struct{ f *ast.FuncDecl }

func (s signatureAndBody) Pos() token.Pos { return s.f.Type.Params.Pos() }
func (s signatureAndBody) End() token.Pos { return s.f.Body.End() }

const engineImport = `"iolab/lessons/engine"` // what every stub needs

// withBodies puts the stubs in, takes those it used out of the map, and drops the
// imports that nothing uses any more.
func (s source) withBodies(stubs map[string][]byte) ([]byte, error) {
	var out []byte
	at := 0
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || stubs[key(f)] == nil {
			continue
		}
		body := bodyOf(f)
		out = append(append(out, s.text[at:s.offset(body.Pos())]...), stubs[key(f)]...)
		at = s.offset(body.End())
		delete(stubs, key(f))
	}
	out = append(out, s.text[at:]...)
	if !bytes.Contains(s.text, []byte(engineImport)) {
		end := s.offset(s.file.Name.End())
		out = slices.Concat(out[:end], []byte("\n\nimport "+engineImport), out[end:])
	}
	return dropImports(out)
}

func dropImports(text []byte) ([]byte, error) {
	s, err := parse("partial.go", text)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, spec := range slices.Backward(s.file.Imports) {
		file, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(file)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if used[name] || name == "_" || name == "." {
			continue
		}
		from, to := s.offset(spec.Pos()), s.offset(spec.End())
		if !bytes.Contains(text[:from], []byte("import (")) {
			from = bytes.LastIndex(text[:from], []byte("import"))
		}
		text = slices.Concat(text[:from], text[to:])
	}
	return text, nil
}

// SameAPI wants the skeleton and the solution to export the same names, of the
// same types.
func SameAPI(root string, l catalogue.Lesson) error {
	skeleton, err := workspace.Skeleton(root, l)
	if err != nil {
		return err
	}
	solution, err := sources(l.Solution(root))
	if err != nil {
		return err
	}
	if a, b := slices.Sorted(maps.Keys(skeleton)), slices.Sorted(maps.Keys(solution)); !slices.Equal(a, b) {
		return fmt.Errorf("lesson and solution should have the same files, but have %v and %v", a, b)
	}
	mine, err := exported(skeleton)
	if err != nil {
		return err
	}
	theirs, err := exported(solution)
	if err != nil {
		return err
	}
	if d := diff.Diff("lessons/"+l.Folder, []byte(mine), "solutions/"+l.Folder, []byte(theirs)); len(d) > 0 {
		return fmt.Errorf("lesson and solution should export the same, but differ:\n%s", d)
	}
	return nil
}

// exported are the exported declarations of the files, sorted, without bodies.
func exported(files map[string][]byte) (string, error) {
	var decls []string
	for name, text := range files {
		s, err := parse(name, text)
		if err != nil {
			return "", err
		}
		decls = append(decls, "package "+s.file.Name.Name)
		ast.FileExports(s.file)
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && !ast.IsExported(strings.Split(key(d), ".")[0]) {
					continue
				}
				d.Body, d.Doc = nil, nil
				for _, list := range []*ast.FieldList{d.Type.Params, d.Type.Results} {
					if list != nil {
						unname(list)
					}
				}
			case *ast.GenDecl:
				d.Doc = nil
				if d.Tok == token.IMPORT {
					continue
				}
			}
			var b strings.Builder
			if err := printer.Fprint(&b, token.NewFileSet(), d); err != nil {
				return "", err
			}
			decls = append(decls, b.String())
		}
	}
	slices.Sort(decls)
	return strings.Join(decls, "\n") + "\n", nil
}

// unname forgets what parameters are called: the types are the interface.
func unname(list *ast.FieldList) {
	var fields []*ast.Field
	for _, f := range list.List {
		for range max(1, len(f.Names)) {
			fields = append(fields, &ast.Field{Type: f.Type})
		}
	}
	list.List = fields
}
