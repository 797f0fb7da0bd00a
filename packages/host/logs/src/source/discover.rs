//! Which logs there are: those of pods (`/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`, as CRI has it), of containers of the
//! machine config (`/var/log/lepton/containers/NAME/log`), and those that PID 1 keeps (`/var/log/lepton/services/NAME.log`,
//! `kernel.log`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::Source;

/// How the lines of a log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As CRI defines.
    Cri,
    /// As PID 1 does.
    Lines,
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose.
    pub source: Source,
    /// The file that grows.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
}

/// Where logs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Logs of pods.
    pub pods: PathBuf,
    /// Logs of containers of the machine config.
    pub containers: PathBuf,
    /// Logs that PID 1 keeps; none when it keeps them in memory.
    pub host: Option<PathBuf>,
}

/// What a look around found.
#[derive(Debug, Default)]
pub struct Look {
    /// The logs.
    pub logs: Vec<Found>,
    /// Folders where others may appear.
    pub folders: Vec<PathBuf>,
}

/// Looks at all places. What cannot be read is not there.
pub fn look(places: &Places) -> Look {
    let mut look = Look::default();
    pods(&places.pods, &mut look);
    containers(&places.containers, &mut look);
    if let Some(host) = &places.host {
        services(host, &mut look);
    }
    look
}

fn pods(root: &Path, look: &mut Look) {
    for (pod, folder) in enter(root, look) {
        let parts: Vec<&str> = pod.split('_').collect();
        let [namespace, name_of_pod, uid] = parts[..] else { continue };
        if [namespace, name_of_pod, uid].iter().any(|part| part.is_empty()) {
            continue;
        }
        for (container, folder) in enter(&folder, look) {
            let files = enter(&folder, look);
            for (name, path) in logs_of(&files, &folder) {
                let restart = name.strip_suffix(".log").and_then(|number| number.parse().ok());
                let Some(restart) = restart else { continue };
                let source = Source::Pod {
                    namespace: namespace.to_owned(),
                    pod: name_of_pod.to_owned(),
                    uid: uid.to_owned(),
                    container: container.clone(),
                    restart,
                };
                look.logs.push(Found { source, path, format: Format::Cri });
            }
        }
    }
}

fn containers(root: &Path, look: &mut Look) {
    for (name, folder) in enter(root, look) {
        let files = enter(&folder, look);
        let is_there = files.iter().any(|(file, _)| file == "log" || file.starts_with("log."));
        if is_there {
            let path = folder.join("log");
            look.logs.push(Found { source: Source::Container { name }, path, format: Format::Cri });
        }
    }
}

fn services(root: &Path, look: &mut Look) {
    let files = enter(root, look);
    for (name, path) in logs_of(&files, root) {
        if name == "kernel.log" {
            look.logs.push(Found { source: Source::Kernel, path, format: Format::Lines });
        }
    }
    let folder = root.join("services");
    let files = enter(&folder, look);
    for (name, path) in logs_of(&files, &folder) {
        if let Some(name) = name.strip_suffix(".log").filter(|name| !name.is_empty()) {
            let source = Source::Service { name: name.to_owned() };
            look.logs.push(Found { source, path, format: Format::Lines });
        }
    }
}

/// Logs among files, by the file that grows: it may have been moved aside a moment ago.
fn logs_of(files: &[(String, PathBuf)], folder: &Path) -> BTreeMap<String, PathBuf> {
    let names = files.iter().filter_map(|(file, _)| {
        let end = file.find(".log")? + ".log".len();
        (end == file.len() || file[end..].starts_with('.')).then(|| file[..end].to_owned())
    });
    names.map(|name| (name.clone(), folder.join(name))).collect()
}

/// What is in a folder, which is one more to be watched.
fn enter(folder: &Path, look: &mut Look) -> Vec<(String, PathBuf)> {
    #[expect(clippy::disallowed_methods, reason = "sorted below")]
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    look.folders.push(folder.to_owned());
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let mut names: Vec<String> = names.filter_map(|name| OsString::into_string(name).ok()).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), folder.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_all_kinds() {
        let root = tempfile::tempdir().unwrap();
        let touch = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        for name in [
            "pods/shop_web-1_c7e4/app/0.log",
            "pods/shop_web-1_c7e4/app/0.log.20261129-101112",
            "pods/shop_web-1_c7e4/app/1.log.20261129-101112",
            "pods/shop_web-1_c7e4/app/2.logs",
            "pods/shop_web-1_c7e4/app/x.log",
            "pods/other/app/0.log",
            "pods/a__b/app/0.log",
            "lepton/containers/web/log",
            "lepton/containers/web/log.1",
            "lepton/containers/empty/position",
            "lepton/services/network.log",
            "lepton/services/network.log.1",
            "lepton/kernel.log",
        ] {
            touch(name);
        }
        let places = Places {
            pods: root.path().join("pods"),
            containers: root.path().join("lepton/containers"),
            host: Some(root.path().join("lepton")),
        };
        let look = look(&places);
        let keys: Vec<_> = look.logs.iter().map(|found| found.source.key()).collect();
        assert_eq!(
            keys,
            [
                "pods/shop/web-1/c7e4/app/0",
                "pods/shop/web-1/c7e4/app/1",
                "containers/web",
                "kernel",
                "services/network"
            ]
        );
        assert!(look.folders.contains(&root.path().join("pods/shop_web-1_c7e4/app")));
        assert!(look.folders.contains(&root.path().join("lepton/services")));
    }
}
