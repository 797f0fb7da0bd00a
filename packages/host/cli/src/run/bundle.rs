//! `lepton support-bundle`: the archive of each host, as a file that appears whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lepton_host_api::v1 as api;

use super::Call;
use super::look::taken;
use crate::failure::Failure;
use crate::fleet::{Fleet, Host};
use crate::output::Output;

/// The file that is standard output.
const STANDARD_OUTPUT: &str = "-";

/// Fetches the archives.
pub(crate) async fn support_bundle(
    call: &Call<'_>,
    fleet: &Fleet,
    output: &Output<'_>,
) -> Result<u8, Failure> {
    let log_lines = call.number("lines")?.unwrap_or(0);
    let word = call.asked.word(0);
    if word == Some(STANDARD_OUTPUT) {
        if output.several {
            return Err(Failure::Usage("the standard output takes the archive of one host".to_owned()));
        }
        let answers = fleet.each(async |host| fetch(host, log_lines, |bytes| output.raw(bytes)).await);
        return crate::fleet::told(answers.await).map(|(_, code)| code);
    }
    if let (true, Some(folder)) = (output.several, word) {
        fs::create_dir_all(folder).map_err(Failure::file("make", Path::new(folder)))?;
    }
    let answers =
        fleet.each(async |host| save(host, log_lines, &path(host.name, word, output.several)).await);
    let where_to = match word {
        Some(word) => word.to_owned(),
        None if output.several => "HOST-support.tar.gz".to_owned(),
        None => fleet
            .names()
            .first()
            .map(|host| path(host, None, false).display().to_string())
            .unwrap_or_default(),
    };
    taken(answers.await, &format!("is in {where_to}"), output)
}

fn path(host: &str, word: Option<&str>, several: bool) -> PathBuf {
    let safe = |character: char| {
        if character.is_ascii_alphanumeric() || "._-".contains(character) { character } else { '_' }
    };
    let name = format!("{}-support.tar.gz", host.chars().map(safe).collect::<String>());
    match word {
        Some(folder) if several => Path::new(folder).join(name),
        Some(file) => file.into(),
        None => name.into(),
    }
}

async fn save(host: &Host<'_>, log_lines: u32, path: &Path) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Logs may say what is nobody else's business.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let mut file = opened.map_err(Failure::file("write", &part))?;
    let fetched =
        fetch(host, log_lines, |bytes| file.write_all(bytes).map_err(Failure::file("write", &part))).await;
    let kept = fetched.and_then(|()| keep(&file, &part, path).map_err(Failure::file("write", path)));
    if kept.is_err() {
        // What is half there is of no use.
        let _ = fs::remove_file(&part);
    }
    kept
}

fn keep(file: &File, part: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(part, path)
}

async fn fetch(
    host: &Host<'_>,
    log_lines: u32,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let request = api::SupportBundleRequest { log_lines };
    let mut stream = host.link.client().support_bundle(request).await?.into_inner();
    let mut is_empty = true;
    while let Some(part) = stream.message().await? {
        is_empty &= part.data.is_empty();
        take(&part.data)?;
    }
    if is_empty { Err(Failure::Short) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        assert_eq!(path("edge-1", None, false), Path::new("edge-1-support.tar.gz"));
        assert_eq!(path("edge-1", Some("x.tgz"), false), Path::new("x.tgz"));
        assert_eq!(path("[::1]:7000", Some("all"), true), Path::new("all/___1__7000-support.tar.gz"));
        assert_eq!(path("unix:/../a", None, true), Path::new("unix__.._a-support.tar.gz"));
    }
}
