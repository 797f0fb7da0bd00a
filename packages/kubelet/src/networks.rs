//! The network of pods: a host alone has one of its own, a node has the cluster's and no other.
//!
//! The runtime takes the first network of its folder. In a cluster that is the one that it makes from the node's range of
//! addresses, or one that the cluster's network add-on brings; the host's own would give pods addresses that no other
//! node knows, and let them start before the right one is there.

use std::fs;
use std::io;

use crate::failure::{Failure, file_failure};
use crate::files;
use crate::places::Places;

/// Takes the host's own network away in a cluster, and puts it back otherwise. One that somebody has changed stays.
pub(crate) fn choose(is_alone: bool, places: &Places) -> Result<(), Failure> {
    if is_alone {
        files::remove(&places.network_of_cluster)?;
    }
    let own = match fs::read(&places.network_of_image) {
        Ok(own) => own,
        // An image without it: whoever made the image brings another.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_failure("read", &places.network_of_image)(error)),
    };
    let is_there = fs::read(&places.network).is_ok_and(|there| there == own);
    if is_alone && !places.network.exists() {
        if let Some(folder) = places.network.parent() {
            fs::create_dir_all(folder).map_err(file_failure("make", folder))?;
        }
        files::write(&places.network, &own)?;
    } else if !is_alone && is_there {
        files::remove(&places.network)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_network_goes_and_comes_back_and_a_changed_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut places = Places::of_host();
        places.network = folder.path().join("net.d/99-bridge.conflist");
        places.network_of_image = folder.path().join("image.conflist");
        places.network_of_cluster = folder.path().join("net.d/10-pods.conflist");
        choose(true, &places).unwrap();
        assert!(!places.network.exists(), "an image without one");
        fs::write(&places.network_of_image, "own").unwrap();
        for _ in 0..2 {
            choose(true, &places).unwrap();
            assert_eq!(fs::read(&places.network).unwrap(), b"own");
            assert!(!places.network_of_cluster.exists());
            fs::write(&places.network_of_cluster, "range").unwrap();
            choose(false, &places).unwrap();
            assert!(!places.network.exists() && places.network_of_cluster.exists());
        }
        fs::write(&places.network, "changed").unwrap();
        for is_alone in [false, true] {
            choose(is_alone, &places).unwrap();
            assert_eq!(fs::read(&places.network).unwrap(), b"changed");
        }
    }
}
