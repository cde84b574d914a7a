//! Generates `tidegate.v1` from the .proto files with protox, so no protoc is needed, and gives every field the serde
//! attributes of the JSON mapping (`src/json.rs`).

use prost_build::Config;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

fn main() {
    let files = ["tidegate/v1/message.proto", "tidegate/v1/client.proto"];
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"]).expect("the folder of the .proto files is there");
    compiler.include_source_info(true).include_imports(true);
    let set = compiler.open_files(files).expect("the .proto files compile").file_descriptor_set();

    let mut config = Config::new();
    config.bytes([".tidegate.v1.Msg.content", ".tidegate.v1.Signal.content"]);
    config.type_attribute(".tidegate.v1", "#[derive(serde::Serialize, serde::Deserialize)]");
    config.enum_attribute(".tidegate.v1", "#[serde(rename_all = \"snake_case\")]");
    config.message_attribute(".tidegate.v1", "#[serde(default)]");
    for message in set.file.iter().flat_map(|file| &file.message_type) {
        map_fields(&mut config, message);
    }
    // The largest variant is the common one, so boxing it would cost an allocation a message.
    for oneof in ["ServerFrame.kind", "ClientFrame.kind", "Deliver.entry"] {
        config.enum_attribute(format!(".tidegate.v1.{oneof}"), "#[allow(clippy::large_enum_variant)]");
    }
    config.compile_fds(set).expect("prost generates the types");
    flatten_oneofs();
}

/// Flattens each oneof into its message, as proto3 JSON has it. Not a field attribute, since prost-build gives those of
/// a oneof to its members as well.
fn flatten_oneofs() {
    let path = format!("{}/tidegate.v1.rs", std::env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let code = std::fs::read_to_string(&path).expect("the generated code is there");
    // Long attributes are broken after the parenthesis.
    let code = ["#[prost(oneof = ", "#[prost(\n        oneof = "]
        .iter()
        .fold(code, |code, start| code.replace(start, &format!("{ATTRIBUTE}\n    {start}")));
    std::fs::write(&path, code).expect("OUT_DIR is writable");
}

/// What a oneof has in its message.
const ATTRIBUTE: &str = "#[serde(flatten, deserialize_with = \"crate::one_of::deserialize\")]";

fn map_fields(config: &mut Config, message: &DescriptorProto) {
    for field in &message.field {
        if let Some(attribute) = json_attribute(message, field) {
            config.field_attribute(field_path(message, field), attribute);
        }
    }
}

fn json_attribute(message: &DescriptorProto, field: &FieldDescriptorProto) -> Option<String> {
    if field.label() == Label::Repeated {
        return None;
    }
    let attribute = match field.r#type() {
        Type::Int64 if field.proto3_optional() => {
            "#[serde(deserialize_with = \"crate::json::optional_integer\", skip_serializing_if = \"Option::is_none\")]"
                .to_owned()
        }
        Type::Int32 | Type::Int64 | Type::Uint32 if is_late(message, field) => {
            "#[serde(deserialize_with = \"crate::json::integer\", skip_serializing_if = \"crate::json::is_zero\")]"
                .to_owned()
        }
        Type::Int32 | Type::Int64 | Type::Uint32 => {
            "#[serde(deserialize_with = \"crate::json::integer\")]".to_owned()
        }
        Type::String if is_late(message, field) => {
            "#[serde(deserialize_with = \"crate::json::or_default\", skip_serializing_if = \"String::is_empty\")]"
                .to_owned()
        }
        Type::String if field.oneof_index.is_none() => {
            "#[serde(deserialize_with = \"crate::json::or_default\")]".to_owned()
        }
        Type::Bytes => "#[serde(flatten, with = \"crate::json::content\")]".to_owned(),
        Type::Enum => {
            let name = field.type_name().rsplit('.').next().unwrap_or_default();
            let module = match name {
                "Code" => "code",
                "CloseCode" => "close_code",
                "ReceiptStatus" => "receipt_status",
                other => panic!("no JSON mapping for the enum {other}"),
            };
            format!("#[serde(with = \"crate::json::{module}\")]")
        }
        Type::Message if field.oneof_index.is_none() => {
            "#[serde(skip_serializing_if = \"Option::is_none\")]".to_owned()
        }
        _ => return None,
    };
    Some(attribute)
}

/// Fields of `Msg` beyond those that every client of this kind of system knows: left out of the JSON when empty.
fn is_late(message: &DescriptorProto, field: &FieldDescriptorProto) -> bool {
    message.name() == "Msg" && field.number() >= 15
}

fn path(message: &DescriptorProto, member: &str) -> String {
    format!(".tidegate.v1.{}.{member}", message.name())
}

/// prost-build names a member of a oneof by the oneof as well.
fn field_path(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    match field.oneof_index {
        Some(number) if !field.proto3_optional() => {
            let oneof = message.oneof_decl[number as usize].name();
            path(message, &format!("{oneof}.{}", field.name()))
        }
        _ => path(message, field.name()),
    }
}
