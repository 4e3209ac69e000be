//! The names of containers, from the files in which Docker, Podman and CRI-O keep them. Root may read these files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use super::recent::Recent;
use super::text;
use crate::files;

/// `ID/config.v2.json` of each container has its `Name` (`daemon/container/container.go` of Moby).
const DOCKER: &str = "/var/lib/docker/containers";
/// Lists of containers with `id` and `names` (`containers.go` of containers/storage). The second one has those that do
/// not survive a restart of the host, which are CRI-O's.
const STORAGE: [&str; 2] = [
    "/var/lib/containers/storage/overlay-containers/containers.json",
    "/var/lib/containers/storage/overlay-containers/volatile-containers.json",
];
/// The greatest size of a list in bytes. A container takes about 1 KiB.
const LONGEST_LIST: u64 = 16 << 20;
const CAPACITY: usize = 4096;
/// The least time between two readings of the lists, and between two looks for the same container.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Finds the names of containers by their ids. A name stays known after the end of its container. A container whose file
/// cannot be read, and one of a user without root's capabilities, has no name here.
#[derive(Debug)]
pub(crate) struct Stores {
    docker: PathBuf,
    lists: Vec<List>,
    /// Absent for a container that had no name at the given time.
    known: Recent<String, (Instant, Option<Arc<str>>)>,
    read_at: Option<Instant>,
}

#[derive(Debug)]
struct List {
    path: PathBuf,
    /// The time of the last change that was read.
    changed: Option<SystemTime>,
}

impl Default for Stores {
    fn default() -> Self {
        Self::new()
    }
}

impl Stores {
    /// The constructor reads nothing.
    pub(crate) fn new() -> Self {
        Self::of(DOCKER.into(), STORAGE.map(PathBuf::from).to_vec())
    }

    pub(super) fn of(docker: PathBuf, lists: Vec<PathBuf>) -> Self {
        let lists = lists.into_iter().map(|path| List { path, changed: None }).collect();
        Self { docker, lists, known: Recent::new(CAPACITY), read_at: None }
    }

    /// The name of the container with this id of 64 hexadecimal digits.
    pub(crate) fn name(&mut self, id: &str) -> Option<Arc<str>> {
        self.name_at(id, Instant::now())
    }

    fn name_at(&mut self, id: &str, now: Instant) -> Option<Arc<str>> {
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REFRESH_INTERVAL;
        match self.known.get(id) {
            _ if !is_id => return None,
            Some((_, Some(name))) => return Some(Arc::clone(name)),
            Some((at, None)) if is_recent(*at) => return None,
            _ => {}
        }
        self.refresh(now);
        if let Some((_, Some(name))) = self.known.get(id) {
            return Some(Arc::clone(name));
        }
        let name: Option<Arc<str>> = of_docker(&self.docker.join(id).join("config.v2.json")).map(Into::into);
        self.known.insert(id.to_owned(), (now, name.clone()));
        name
    }

    /// Reads the lists that changed.
    fn refresh(&mut self, now: Instant) {
        if self.read_at.is_some_and(|at| now.saturating_duration_since(at) < REFRESH_INTERVAL) {
            return;
        }
        self.read_at = Some(now);
        for list in &mut self.lists {
            let changed = fs::metadata(&list.path).and_then(|file| file.modified()).ok();
            if changed.is_none() || changed == list.changed {
                continue;
            }
            list.changed = changed;
            for (id, name) in of_list(&list.path) {
                self.known.insert(id, (now, Some(name.into())));
            }
        }
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Name")]
    name: String,
}

/// The name is `/web`.
fn of_docker(file: &Path) -> Option<String> {
    let bytes = files::read(file, files::MAX_SETTINGS).ok()?;
    let config: Config = serde_json::from_slice(&bytes).ok()?;
    text::name(config.name.strip_prefix('/').unwrap_or(&config.name))
}

#[derive(Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

fn of_list(file: &Path) -> impl Iterator<Item = (String, String)> {
    let stored = files::read(file, LONGEST_LIST).ok();
    let stored: Vec<Stored> = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let of_each = |container: Stored| {
        let is_id = container.id.len() == 64;
        Some((container.id, text::name(container.names.first()?)?)).filter(|_| is_id)
    };
    stored.into_iter().take(CAPACITY).filter_map(of_each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::fixture::Tree;

    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
    const OTHER: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";

    fn of(tree: &Tree) -> Stores {
        Stores::of(tree.path("docker"), vec![tree.path("containers.json"), tree.path("volatile.json")])
    }

    #[test]
    fn files_of_docker_and_podman_name_containers() {
        let tree = Tree::new();
        let config = format!(r#"{{"StreamConfig":{{}},"ID":"{ID}","Name":"/web","Path":"nginx"}}"#);
        tree.write(&format!("docker/{ID}/config.v2.json"), &config);
        let list = format!(r#"[{{"id":"{OTHER}","names":["db","pg"],"layer":"x"}},{{"id":"1"}}]"#);
        tree.write("containers.json", &list);
        let mut stores = of(&tree);
        assert_eq!((stores.name(ID).as_deref(), stores.name(OTHER).as_deref()), (Some("web"), Some("db")));
        assert_eq!(stores.name(&"0".repeat(64)), None);
        assert_eq!(stores.name("../web"), None);
    }

    #[test]
    fn name_is_found_when_it_comes_and_stays_after_its_end() {
        let (tree, now) = (Tree::new(), Instant::now());
        let mut stores = of(&tree);
        assert_eq!(stores.name_at(ID, now), None);
        tree.write("volatile.json", &format!(r#"[{{"id":"{ID}","names":["k8s_web"]}}]"#));
        assert_eq!(stores.name_at(ID, now + REFRESH_INTERVAL / 2), None);
        assert_eq!(stores.name_at(ID, now + REFRESH_INTERVAL).as_deref(), Some("k8s_web"));
        tree.write("volatile.json", "[]");
        assert_eq!(stores.name_at(ID, now + 5 * REFRESH_INTERVAL).as_deref(), Some("k8s_web"));
    }

    #[test]
    fn malformed_files_yield_no_names() {
        let tree = Tree::new();
        for content in ["", "{", "[1]", r#"{"Name":""}"#, r#"{"Name":7}"#, r#"{"Name":"/"}"#] {
            tree.write(&format!("docker/{ID}/config.v2.json"), content);
            tree.write("containers.json", content);
            assert_eq!(of(&tree).name(ID), None, "{content}");
        }
        tree.write(&format!("docker/{ID}/config.v2.json"), "{\"Name\":\"/a\\u001b[2Jb\"}");
        assert_eq!(of(&tree).name(ID).as_deref(), Some("a\u{fffd}[2Jb"));
    }
}
