//! Generates the gRPC services from the .proto files of `tidegate-proto`, whose types they share, with protox, so no
//! protoc is needed; and has cargo notice a migration that was added, since `sqlx::migrate!` reads folders.

use std::path::PathBuf;

fn main() {
    for engine in ["mysql", "postgres", "sqlite"] {
        println!("cargo:rerun-if-changed=src/store/{engine}/migrations");
    }
    services();
    log();
}

fn services() {
    println!("cargo:rerun-if-changed={PROTO}");
    let mut compiler = protox::Compiler::new([PROTO]).expect("the folder of the .proto files is there");
    compiler.include_source_info(true).include_imports(true);
    let set = compiler.open_files(FILES).expect("the .proto files compile").file_descriptor_set();

    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut builder =
        tonic_prost_build::configure().bytes(".tidegate.v1.Push.msg").bytes(".tidegate.v1.Post.msg");
    for file in set.file.iter().filter(|file| !FILES.contains(&file.name())) {
        let messages = file.message_type.iter().map(|message| message.name());
        for name in messages.chain(file.enum_type.iter().map(|one| one.name())) {
            // The protocol crate has generated it.
            let shared = format!("::tidegate_proto::v1::{name}");
            builder = builder.extern_path(format!(".{}.{name}", file.package()), shared);
        }
    }
    std::fs::write(out.join(DESCRIPTORS), prost::Message::encode_to_vec(&set)).expect("OUT_DIR is writable");
    builder.compile_fds(set).expect("the services are generated");
}

/// The records of the log. They are no part of a service, so reflection does not show them.
fn log() {
    let mut compiler = protox::Compiler::new([PROTO]).expect("the folder of the .proto files is there");
    compiler.include_source_info(true).include_imports(true);
    let set = compiler.open_files([LOG]).expect("the .proto file compiles").file_descriptor_set();
    tonic_prost_build::configure().compile_fds(set).expect("the types are generated");
}

const PROTO: &str = "../proto/proto";
/// The files that are generated here.
const FILES: [&str; 3] = ["chat/chat.proto", "tidegate/v1/link.proto", "tidegate/v1/services.proto"];
/// Where all descriptors are written for reflection.
const DESCRIPTORS: &str = "services.bin";
/// The file of the log's records.
const LOG: &str = "tidegate/log/v1/record.proto";
