//! The OCI layout of an image (<https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::binary::Binary;
use super::source::Source;
use super::{empty, layer, sum};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The port of the agent's metrics.
const PORT: &str = "23870/tcp";
const LICENCES: &str = "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only) AND LGPL-2.1-or-later";

/// Writes the layout anew. The image has one name, which stands for the images of all processors; returns its digest.
pub(super) fn write(folder: &Path, source: &Source, binaries: &[Binary]) -> Result<String> {
    let blobs = Blobs::create(folder)?;
    let mut manifests = Vec::new();
    for binary in binaries {
        let mut manifest = manifest(&blobs, source, binary)?;
        manifest["platform"] = json!({ "architecture": binary.architecture, "os": "linux" });
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels(source),
    });
    let mut named = blobs.document(INDEX, &index)?;
    let name = format!("droptrace:{}", source.version);
    // Podman takes the first; containerd takes the second, whole, as Kubernetes completes the short name.
    named["annotations"] = json!({
        "org.opencontainers.image.ref.name": name,
        "io.containerd.image.name": format!("docker.io/library/{name}"),
    });
    let digest = named["digest"].as_str().unwrap_or_default().to_owned();
    put(&folder.join("index.json"), &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] }))?;
    put(&folder.join("oci-layout"), &json!({ "imageLayoutVersion": "1.0.0" }))?;
    Ok(digest)
}

/// Writes the image for one processor; returns its descriptor.
fn manifest(blobs: &Blobs, source: &Source, binary: &Binary) -> Result<Value> {
    let (root, tar) = (blobs.scratch("root"), blobs.scratch("layer.tar"));
    layer::fill(&root, &binary.file)?;
    layer::pack(&root, source.time, &tar)?;
    let packed = tar.with_added_extension("gz");
    layer::compress(&tar, &packed)?;
    let contents = format!("sha256:{}", sum(&tar)?);
    let layer = blobs.file(LAYER, &packed)?;
    fs::remove_file(&tar).and_then(|()| fs::remove_dir_all(&root)).context("cannot remove what was packed")?;
    let config = json!({
        "created": source.created,
        "architecture": binary.architecture,
        "os": "linux",
        "config": {
            "Entrypoint": [format!("/{}", layer::PROGRAM)],
            "ExposedPorts": { PORT: {} },
            "Labels": labels(source),
        },
        "rootfs": { "type": "layers", "diff_ids": [contents] },
        "history": [{ "created": source.created, "created_by": "cargo xtask image" }],
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blobs.document(CONFIG, &config)?,
        "layers": [layer],
        "annotations": labels(source),
    });
    blobs.document(MANIFEST, &manifest)
}

/// The facts under the names of the OCI (<https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>).
fn labels(source: &Source) -> Map<String, Value> {
    let facts = [
        ("title", Some("droptrace")),
        ("description", Some("Accounts for every packet that the Linux kernel drops")),
        ("licenses", Some(LICENCES)),
        ("version", Some(&*source.version)),
        ("created", Some(&*source.created)),
        ("revision", source.revision.as_deref()),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.into())).collect()
}

/// Files that are named after their sums.
struct Blobs(PathBuf);

impl Blobs {
    fn create(folder: &Path) -> Result<Self> {
        empty(folder)?;
        let blobs = folder.join("blobs/sha256");
        empty(&blobs)?;
        Ok(Self(blobs))
    }

    /// The path of a file that becomes a blob, on the same file system.
    fn scratch(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes a file over; returns its descriptor.
    fn file(&self, kind: &str, file: &Path) -> Result<Value> {
        let (size, sum) = (fs::metadata(file)?.len(), sum(file)?);
        fs::rename(file, self.0.join(&sum)).with_context(|| format!("cannot move {}", file.display()))?;
        Ok(json!({ "mediaType": kind, "digest": format!("sha256:{sum}"), "size": size }))
    }

    fn document(&self, kind: &str, document: &Value) -> Result<Value> {
        let file = self.scratch("document");
        put(&file, document)?;
        self.file(kind, &file)
    }
}

/// The members of an object are sorted, so that the bytes are the same each time.
fn put(file: &Path, document: &Value) -> Result<()> {
    fs::write(file, document.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use object::elf::{EM_AARCH64, EM_X86_64};

    use super::super::binary::tests::program;
    use super::*;
    use crate::support::process;

    fn source() -> Source {
        let (version, created) = ("1.2.3".into(), "2026-01-02T03:04:05Z".into());
        Source { version, time: 1_767_323_045, created, revision: Some("c0ffee".into()) }
    }

    fn read(folder: &Path, descriptor: &Value) -> Value {
        let (_, sum) = descriptor["digest"].as_str().unwrap().split_once(':').unwrap();
        let bytes = fs::read(folder.join("blobs/sha256").join(sum)).unwrap();
        assert_eq!(descriptor["size"], bytes.len());
        serde_json::from_slice(&bytes).unwrap()
    }

    /// All files below a folder with their bytes.
    fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    fn scene(name: &str) -> (PathBuf, Vec<Binary>) {
        let folder = std::env::temp_dir().join(format!("xtask-image-{name}-{}", std::process::id()));
        empty(&folder).unwrap();
        let files = [(EM_X86_64, "x"), (EM_AARCH64, "a")].map(|(machine, name)| {
            fs::write(folder.join(name), program(machine)).unwrap();
            Binary::read(&folder.join(name)).unwrap()
        });
        (folder, files.into())
    }

    #[test]
    fn layout_is_the_same_each_time() {
        let (folder, binaries) = scene("same");
        let layout = folder.join("oci");
        let digest = write(&layout, &source(), &binaries).unwrap();
        let first = contents(&layout);
        // Another time of the files, and another mask of the user.
        fs::write(&binaries[0].file, program(EM_X86_64)).unwrap();
        assert_eq!(write(&layout, &source(), &binaries).unwrap(), digest);
        assert_eq!(contents(&layout), first);
        // An index, two manifests, two configurations and two layers; the index of the layout and its version.
        assert_eq!(first.len(), 7 + 2);
        for (path, _) in first.iter().filter(|(path, _)| path.to_string_lossy().contains("/sha256/")) {
            assert_eq!(sum(path).unwrap(), path.file_name().unwrap().to_str().unwrap());
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_name_stands_for_all_processors() {
        let (folder, binaries) = scene("name");
        let layout = folder.join("oci");
        write(&layout, &source(), &binaries).unwrap();
        let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        assert_eq!(top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "droptrace:1.2.3");
        let index = read(&layout, &top["manifests"][0]);
        let architectures = [0, 1].map(|number| index["manifests"][number]["platform"]["architecture"].clone());
        assert_eq!(architectures, ["amd64", "arm64"]);
        let config = read(&layout, &read(&layout, &index["manifests"][1])["config"]);
        assert_eq!(config["config"]["Entrypoint"], json!(["/droptrace"]));
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "c0ffee");
        assert_eq!((&config["architecture"], &config["os"]), (&"arm64".into(), &"linux".into()));
        let unknown = Source { revision: None, ..source() };
        assert!(!labels(&unknown).contains_key("org.opencontainers.image.revision"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn layer_holds_the_binary_and_the_licences() {
        let (folder, binaries) = scene("layer");
        let layout = folder.join("oci");
        write(&layout, &source(), &binaries[..1]).unwrap();
        let all = contents(&layout);
        let (layer, _) = all.iter().find(|(_, bytes)| bytes.starts_with(b"\x1f\x8b")).unwrap();
        let mut tar = Command::new("tar");
        tar.env("TZ", "UTC0").args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"]).arg(layer);
        let list = process::output(&mut tar).unwrap();
        let files: Vec<_> = list.lines().filter(|line| line.starts_with('-')).collect();
        assert!(files[0].starts_with("-rwxr-xr-x 0/0") && files[0].ends_with(" 2026-01-02 03:04 droptrace"), "{list}");
        assert!(files[1].starts_with("-rw-r--r-- 0/0") && files[1].ends_with("/doc/droptrace/copyright"), "{list}");
        assert_eq!(files.len(), 2, "{list}");
        fs::remove_dir_all(folder).unwrap();
    }
}
