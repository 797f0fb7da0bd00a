//! Settings of one link below `/proc/sys/net`, each with its reason.

use std::fs;
use std::io;
use std::path::Path;

/// Writes the settings of a link. A kernel that does not know one is not an error; the others are named.
pub fn apply(link: &str, accept_ra: bool) -> Vec<String> {
    let on = |is_on: bool| if is_on { "1" } else { "0" };
    let settings = [
        // 2 and not 1: a host with containers forwards, and 1 stops listening to routers then.
        ("ipv6", "accept_ra", if accept_ra { "2" } else { "0" }),
        ("ipv6", "autoconf", on(accept_ra)),
        // A router that withdraws a prefix means it: without this the address stays for two hours.
        ("ipv6", "ra_honor_pio_life", on(accept_ra)),
        // Routes to single networks (RFC 4191), up to any length.
        ("ipv6", "accept_ra_rt_info_max_plen", if accept_ra { "128" } else { "0" }),
        // Servers have one address that people know, not temporary ones.
        ("ipv6", "use_tempaddr", "0"),
        // A route through a link without carrier is no route: another link may have one.
        ("ipv4", "ignore_routes_with_linkdown", "1"),
        ("ipv6", "ignore_routes_with_linkdown", "1"),
        // When the first of several addresses of a network goes, the others stay.
        ("ipv4", "promote_secondaries", "1"),
    ];
    settings
        .into_iter()
        .filter_map(|(family, key, value)| {
            let path = format!("/proc/sys/net/{family}/conf/{link}/{key}");
            write(Path::new(&path), value).err().map(|error| format!("cannot set {path} to {value}: {error}"))
        })
        .collect()
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Writing `accept_ra` again makes the kernel look for routers again: only changes are written.
    match fs::read_to_string(path) {
        Ok(current) if current.trim() == value => Ok(()),
        Ok(_) => fs::write(path, value),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
