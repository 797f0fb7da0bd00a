//! Text that is no TOML: what of it can be used all the same.

use expect_test::expect;

use super::check;

#[test]
fn a_broken_table_leaves_the_others() {
    check(
        "hostname = \"edge-1\n[network]\ndns = [\"192.0.2.53\"]\n[[network.links]]\nmatch = { name = \"eth0\"\n[network.links.bond]\nmembers = [\"eth1\"]\n[time]\nservers = [\"192.0.2.123\"]\n",
        &expect![[r#"
            [network]
            dns = ["192.0.2.53"]

            [time]
            servers = ["192.0.2.123"]
            ! x.toml:1: invalid basic string, expected `"`
            ! x.toml:5: missing key for inline table element, expected `,`
        "#]],
    );
    check(
        "[time]\nservers = [\"a\"]\n[time]\nservers = [\"b\"]\n",
        &expect![[r#"
            [time]
            servers = ["a"]
            ! x.toml:3: duplicate key
        "#]],
    );
    check(
        "[[files]]\npath = \"/etc/a\"\ncontent = '''\nnever closed\n[time]\nservers = [\"a\"]\n",
        &expect![[r#"
            ! x.toml:6: invalid multi-line literal string, expected `'`
        "#]],
    );
}
