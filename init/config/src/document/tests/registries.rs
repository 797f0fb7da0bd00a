//! Registries, and their mirrors and credentials.

use expect_test::expect;

use super::check;

#[test]
fn registries() {
    check(
        r#"[[registries]]
host = "docker.io"
[[registries.endpoints]]
url = "https://u:p@a"
[[registries.endpoints]]
url = "https://b"
user = "robot"
[[registries.endpoints]]
url = "https://c"
ca-file = "c.pem"
[[registries.endpoints]]
url = "http://d"
pull-credentials = 1
[[registries.endpoints]]
url = "http://d"
[[registries]]
host = "docker.io"
endpoints = [{ url = "https://e" }]
[[registries]]
host = "ghcr.io"
endpoints = []
[[registries]]
host = "quay.io"
[[registries]]
host = "a.example"
only-endpoints = true
endpoints = "https://b"
[[registries]]
host = "b.example"
only-endpoints = "yes"
endpoints = [{ url = "b" }]
"#,
        &expect![[r#"
            [[registries]]
            host = "docker.io"

            [[registries.endpoints]]
            url = "http://d"

            [[registries]]
            host = "a.example"
            only-endpoints = true

            [[registries]]
            host = "b.example"
            only-endpoints = true
            ! x.toml:4: registries[0].endpoints[0].url: it is not of the form http[s]://HOST[:PORT][/PREFIX]; user and password have keys of their own
            ! x.toml:5: registries[0].endpoints[1]: user and password belong together: give both or none
            ! x.toml:10: registries[0].endpoints[2].ca-file: "c.pem" is not the absolute path of a file
            ! x.toml:13: registries[0].endpoints[3].pull-credentials: invalid type: integer `1`, expected a boolean
            ! x.toml:14: registries[0].endpoints[4]: http://d is given already in line 11; this one is left out
            ! x.toml:16: registries[1]: the registry docker.io is given already in line 1; this one is left out
            ! x.toml:19: registries[2]: there is no usable endpoint: name at least one, or leave the registry out
            ! x.toml:22: registries[3]: there is no usable endpoint: name at least one, or leave the registry out
            ! x.toml:27: registries[4].endpoints: a list is needed: put the value in [ ]
            ! x.toml:30: registries[5].only-endpoints: invalid type: string "yes", expected a boolean
            ! x.toml:31: registries[5].endpoints[0].url: b is not of the form http[s]://HOST[:PORT][/PREFIX]; user and password have keys of their own
        "#]],
    );
}
