//! Compiles the gRPC contract with a pure-Rust protobuf compiler.

use std::{env, error::Error, fs, path::Path};

use prost::Message;

const FILES: [&str; 3] = ["proto/cni.proto", "proto/felix.proto", "proto/bgp.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .type_attribute(".", "#[serde(rename_all = \"camelCase\")]")
        .compile_fds(descriptors)?;
    Ok(())
}
