//! `images`, `pull` and `rmi`.

use std::io::{self, Write as _};
use std::path::Path;

use lepton_cri::v1 as cri;
use lepton_service_spec::Pull;
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::table;

/// Shows all images.
pub(crate) async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let images = client.images().await?;
    let mut output = io::stdout().lock();
    if json {
        return images
            .iter()
            .try_for_each(|image| writeln!(output, "{}", as_json(image)))
            .map_err(Failure::output);
    }
    let mut rows: Vec<[String; 4]> = images.iter().flat_map(rows).collect();
    rows.sort();
    table::write(["IMAGE", "ID", "SIZE", "KEPT"], rows, &mut output).map_err(Failure::output)
}

/// One row for each name of an image.
fn rows(image: &cri::Image) -> Vec<[String; 4]> {
    let mut names = image.repo_tags.clone();
    if names.is_empty() {
        names.extend(image.repo_digests.first().cloned());
    }
    if names.is_empty() {
        names.push("-".to_owned());
    }
    let kept = if image.pinned { "pinned" } else { "" };
    let row = |name| [name, table::short(&image.id), table::size(image.size), kept.to_owned()];
    names.into_iter().map(row).collect()
}

fn as_json(image: &cri::Image) -> serde_json::Value {
    json!({"id": image.id, "tags": image.repo_tags, "digests": image.repo_digests, "size": image.size,
        "pinned": image.pinned})
}

/// Takes an image from its registry; `credentials` is a file with `USER:PASSWORD`.
pub(crate) async fn pull(
    client: &Client,
    name: &str,
    credentials: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let auth = credentials.map(read).transpose()?;
    let id = client.pull(name, auth).await?;
    let mut output = io::stdout().lock();
    let written = match json {
        true => writeln!(output, "{}", json!({"id": id})),
        false => writeln!(output, "{id}"),
    };
    written.map_err(Failure::output)
}

fn read(path: &Path) -> Result<cri::AuthConfig, Failure> {
    let what = || format!("read the credentials in {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io(what(), error))?;
    let Some((username, password)) = text.trim_end_matches(['\n', '\r']).split_once(':') else {
        return Err(Failure::io(what(), io::Error::other("it holds no line USER:PASSWORD")));
    };
    let (username, password) = (username.to_owned(), password.to_owned());
    Ok(cri::AuthConfig { username, password, ..cri::AuthConfig::default() })
}

/// Removes images.
pub(crate) async fn remove(client: &Client, names: &[String]) -> Result<(), Failure> {
    for name in names {
        // CRI's call succeeds for what is not there.
        if client.image(name).await?.is_none() {
            return Err(Failure::NoImage(name.clone()));
        }
        client.remove_image(name).await?;
    }
    Ok(())
}

/// Makes sure that an image is there.
pub(crate) async fn provide(client: &Client, name: &str, pull: Pull) -> Result<(), Failure> {
    let is_there = || async { Ok::<_, Failure>(client.image(name).await?.is_some()) };
    match pull {
        Pull::Missing if is_there().await? => Ok(()),
        Pull::Never if is_there().await? => Ok(()),
        Pull::Never => Err(Failure::NoImage(name.to_owned())),
        Pull::Missing | Pull::Always => Ok(client.pull(name, None).await.map(drop)?),
    }
}
