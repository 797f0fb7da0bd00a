//! Static pods: manifests of the machine config and of people's folder, checked and put into the one folder that kubelet
//! watches.
//!
//! A file is named after its pod, because kubelet tells static pods apart by the path, too: where a manifest comes from
//! may change without a restart of the pod.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lepton_config::MachineConfig;
use lepton_pod_manifest::{Pod, Route};
use walkdir::WalkDir;

use crate::failure::Failure;
use crate::files;

/// Endings of manifests in people's folder; anything else there is left alone.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// A manifest larger than this is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// What kubelet is to run, and what of it is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    /// Name of the file -> its content.
    files: BTreeMap<String, String>,
    /// Name of the file -> where it came from.
    origins: BTreeMap<String, String>,
    /// One sentence each.
    pub(crate) problems: Vec<String>,
}

impl Pods {
    /// All manifests there are: those of the config first.
    pub(crate) fn gather(config: &MachineConfig, folder: &Path) -> Self {
        let mut pods = Self::default();
        for (index, pod) in config.pods.iter().enumerate() {
            let route = pod.route.as_ref().map(|host| Route {
                host: host.as_str(),
                port: pod.route_port.map(lepton_config::Port::get),
            });
            let read = Pod::with_route(&pod.manifest, route);
            pods.add(format!("pods[{index}] of the machine config"), read.map_err(|error| error.to_string()));
        }
        pods.add_folder(folder);
        pods
    }

    fn add_folder(&mut self, folder: &Path) {
        for entry in WalkDir::new(folder).min_depth(1).max_depth(1).follow_links(true).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.problems.push(format!("cannot list {}: {error}", folder.display()));
                    continue;
                }
            };
            let path = entry.path();
            let name = entry.file_name().to_string_lossy();
            let is_manifest =
                path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
            if !entry.file_type().is_file() || !is_manifest || name.starts_with('.') {
                continue;
            }
            self.add(path.display().to_string(), read(path));
        }
    }

    fn add(&mut self, origin: String, pod: Result<Pod, String>) {
        let pod = match pod {
            Ok(pod) => pod,
            Err(message) => return self.problems.push(format!("{origin}: {message}")),
        };
        // Neither part holds an underscore.
        let file = format!("{}_{}.json", pod.namespace(), pod.name());
        if let Some(first) = self.origins.get(&file) {
            let name = pod.name();
            return self.problems.push(format!(
                "{origin}: a pod {name} of the namespace {} comes from {first} already",
                pod.namespace()
            ));
        }
        self.files.insert(file.clone(), pod.to_json());
        self.origins.insert(file, origin);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Makes the folder hold these and nothing else; what is the same is not touched.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        files::make_folder(folder)?;
        for entry in WalkDir::new(folder).min_depth(1).max_depth(1).sort_by_file_name().into_iter().flatten()
        {
            if !self.files.contains_key(entry.file_name().to_string_lossy().as_ref()) {
                files::remove(entry.path())?;
            }
        }
        for (name, content) in &self.files {
            files::write(&folder.join(name), content.as_bytes())?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Pod, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    if fs::metadata(path).map_err(cannot)?.len() > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Pod::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: b}}]}}\n"
        )
    }

    fn config(text: &str) -> MachineConfig {
        let parsed = lepton_config::parse("x", text);
        assert_eq!(parsed.problems, []);
        parsed.config
    }

    #[test]
    fn both_sources_meet_in_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (people, target) = (folder.path().join("people"), folder.path().join("target"));
        fs::create_dir_all(&people).unwrap();
        for (name, text) in [
            ("b.yaml", manifest("b")),
            ("again.json", manifest("web")),
            ("bad.yml", "kind: Service".to_owned()),
            (".b.yaml.swp", "x".to_owned()),
            ("notes.txt", "x".to_owned()),
        ] {
            fs::write(people.join(name), text).unwrap();
        }
        let text = format!(
            "[[pods]]\nmanifest = '''{}'''\nroute = \"web.example\"\nroute-port = 80\n[[pods]]\nmanifest = 'x: ['",
            manifest("web")
        );
        let pods = Pods::gather(&config(&text), &people);
        assert_eq!(pods.files.keys().collect::<Vec<_>>(), ["default_b.json", "default_web.json"]);
        assert!(pods.files["default_web.json"].contains("lepton.route/host"));
        let people = people.display();
        let [first, second, third] = pods.problems.as_slice() else { panic!("{:?}", pods.problems) };
        assert!(first.starts_with("pods[1] of the machine config: line "), "{first}");
        let want = "a pod web of the namespace default comes from pods[0] of the machine config already";
        assert_eq!(*second, format!("{people}/again.json: {want}"));
        assert!(third.starts_with(&format!("{people}/bad.yml: it is Service")), "{third}");

        pods.write(&target).unwrap();
        fs::write(target.join("default_gone.json"), "x").unwrap();
        let written = || fs::metadata(target.join("default_b.json")).unwrap().modified().unwrap();
        let before = written();
        pods.write(&target).unwrap();
        assert_eq!(written(), before, "a file that is the same is left alone");
        assert!(!target.join("default_gone.json").exists());
    }

    #[test]
    fn without_a_folder_there_are_those_of_the_config() {
        let text = format!("[[pods]]\nmanifest = '''{}'''", manifest("web"));
        let pods = Pods::gather(&config(&text), Path::new("/no/such/folder"));
        assert_eq!((pods.len(), pods.problems.len()), (1, 1), "{:?}", pods.problems);
    }
}
