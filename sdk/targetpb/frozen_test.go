package targetpb

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// v1 is the descriptor of target.proto as it was released. It grows with the proto file and never loses
// anything.
const v1 = "testdata/v1.binpb"

var update = flag.Bool("update", false, "add what is new in target.proto to "+v1)

// A plugin that was built against version 1 works with every later consentd of version 1, and the other
// way round.
func TestVersion1IsFrozen(t *testing.T) {
	data, err := os.ReadFile(v1)
	if err != nil {
		t.Fatal(err)
	}
	var released descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &released); err != nil {
		t.Fatal(err)
	}
	now := protodesc.ToFileDescriptorProto(File_target_proto)
	broken := breaks(&released, now)
	for _, what := range broken {
		t.Errorf("breaks plugins that exist: %s", what)
	}
	if len(broken) > 0 || proto.Equal(&released, now) {
		return
	}
	if !*update {
		t.Fatal("target.proto has grown: run go test ./sdk/targetpb -update, so that what is new is frozen too")
	}
	data, err = proto.MarshalOptions{Deterministic: true}.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v1, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// breaks names what of old a peer would miss or misread in now: everything in an old file stays, with its
// name, its number and its type. Names stay too, as they stand in the code that authors generate.
func breaks(old, now *descriptorpb.FileDescriptorProto) []string {
	had, has := shape(old), shape(now)
	var all []string
	for _, place := range slices.Sorted(maps.Keys(had)) {
		switch is, there := has[place]; {
		case !there:
			all = append(all, fmt.Sprintf("%s (%s) is gone", place, had[place]))
		case is != had[place]:
			all = append(all, fmt.Sprintf("%s was %s and is %s", place, had[place], is))
		}
	}
	return all
}

// shape is every element of a file by its place: what it is called by, and what it is on the wire.
func shape(file *descriptorpb.FileDescriptorProto) map[string]string {
	out := map[string]string{"package": file.GetPackage(), "syntax": file.GetSyntax()}
	for _, s := range file.Service {
		out["service "+s.GetName()] = "a service"
		for _, m := range s.Method {
			out["rpc "+s.GetName()+"."+m.GetName()] = fmt.Sprintf("(%s, stream %t) returns (%s, stream %t)",
				m.GetInputType(), m.GetClientStreaming(), m.GetOutputType(), m.GetServerStreaming())
		}
	}
	enums := func(within string, all []*descriptorpb.EnumDescriptorProto) {
		for _, e := range all {
			for _, v := range e.Value {
				out[fmt.Sprintf("enum %s%s value %d", within, e.GetName(), v.GetNumber())] = v.GetName()
			}
		}
	}
	enums("", file.EnumType)
	var messages func(string, []*descriptorpb.DescriptorProto)
	messages = func(within string, all []*descriptorpb.DescriptorProto) {
		for _, m := range all {
			name := within + m.GetName()
			out["message "+name] = "a message"
			for _, f := range m.Field {
				oneof := ""
				if f.OneofIndex != nil {
					oneof = " in " + m.OneofDecl[f.GetOneofIndex()].GetName()
				}
				out[fmt.Sprintf("message %s field %d", name, f.GetNumber())] = strings.TrimSpace(fmt.Sprintf("%s %s %s %s",
					strings.ToLower(strings.TrimPrefix(f.GetLabel().String(), "LABEL_")),
					strings.ToLower(strings.TrimPrefix(f.GetType().String(), "TYPE_")), f.GetTypeName(), f.GetName())) + oneof
			}
			enums(name+".", m.EnumType)
			messages(name+".", m.NestedType)
		}
	}
	messages("", file.MessageType)
	return out
}

// Each way to break the wire is found, and growth is none.
func TestBreaks(t *testing.T) {
	message := func(f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
		i := slices.IndexFunc(f.MessageType, func(m *descriptorpb.DescriptorProto) bool { return m.GetName() == name })
		return f.MessageType[i]
	}
	for name, tc := range map[string]struct {
		change func(*descriptorpb.FileDescriptorProto)
		says   string
	}{
		"field gone": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Record")
			m.Field = m.Field[:2]
		}, "message Record field 3"},
		"field renumbered": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Record").Field[0].Number = proto.Int32(9)
		}, "message Record field 1"},
		"field renamed": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Record").Field[0].Name = proto.String("ident")
		}, "message Record field 1 was"},
		"field of another type": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Limits").Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
		}, "optional int32  max_batch and is optional string"},
		"field repeated": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Outcome").Field[2].Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "message Outcome field 3"},
		"enum value renumbered": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Outcome").EnumType[0].Value[1].Number = proto.Int32(9)
		}, "enum Outcome.Kind value 1"},
		"message gone": {func(f *descriptorpb.FileDescriptorProto) { f.MessageType = f.MessageType[1:] }, "message DescribeRequest"},
		"rpc gone": {func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method = f.Service[0].Method[1:]
		}, "rpc Target.Describe"},
		"rpc streams": {func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[3].ServerStreaming = proto.Bool(true)
		}, "rpc Target.Deliver"},
		"package renamed": {func(f *descriptorpb.FileDescriptorProto) { f.Package = proto.String("consentd.target.v2") }, "package was"},
		"field added": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Record")
			field := proto.Clone(m.Field[0]).(*descriptorpb.FieldDescriptorProto)
			field.Name, field.Number = proto.String("more"), proto.Int32(4)
			m.Field = append(m.Field, field)
		}, ""},
		"enum value added": {func(f *descriptorpb.FileDescriptorProto) {
			e := message(f, "Outcome").EnumType[0]
			e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("HELD"), Number: proto.Int32(7)})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			old := protodesc.ToFileDescriptorProto(File_target_proto)
			now := proto.Clone(old).(*descriptorpb.FileDescriptorProto)
			tc.change(now)
			got := strings.Join(breaks(old, now), "\n")
			if (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
				t.Errorf("found %q, want %q", got, tc.says)
			}
		})
	}
}
