//! What people ask of the pods of a host: `lepton pods`, logs, programs in a pod, and its ports on the host.

use super::Shell;
use crate::guest::GuestError;

/// The pods are those of `alone`.
pub(super) fn look(shell: &mut Shell<'_>) -> Result<(), GuestError> {
    shell.until(
        "kubelet's list",
        "lepton pods | grep -E '^default +web-edge-1 +1/1 +Running +0 .* 10[.]85[.]'",
    )?;
    shell.until(
        "a pod that crashes",
        "lepton pods | grep -E '^default +crash-edge-1 +0/1 +CrashLoopBackOff +[1-9]'",
    )?;
    shell.run("lepton pods -o json | grep '\"name\":\"web-edge-1\"' | grep '\"static\":true'")?;
    shell.run("lepton pods -n nowhere | grep -v web-edge-1")?;

    // A name that no service has is a pod's, with the node's name and without it.
    shell.until("the log of what has ended", "lepton logs crash | grep 'going down'")?;
    shell.run("test \"$(lepton logs -n 1 crash-edge-1)\" = 'going down'")?;
    shell.run("test $(lepton pods logs --tail 2 web 2>&1 | wc -l) = 2")?;
    shell.run(
        "lepton pods logs --timestamps --since 1h web/httpd 2>&1 | grep -E '^20.*Z .*url:/index.html'",
    )?;
    shell.run("lepton logs nothing 2> /tmp/said; test $? = 3 && grep 'no service and no pod' /tmp/said")?;
    shell.run("lepton pods logs web/x 2> /tmp/said; test $? = 3 && grep 'it has httpd, page' /tmp/said")?;
    // It ends with the container.
    shell.run("lepton pods logs -f sick | grep well")?;

    shell.run("lepton exec web -- sh -c 'exit 42'; test $? = 42")?;
    shell.run("test \"$(lepton exec web hostname)\" = web-edge-1")?;
    shell.run("test \"$(echo typed | lepton exec -i web -- cat)\" = typed")?;
    shell.run("lepton exec web -- no-such-program; test $? = 125")?;
    shell.run("lepton exec -t web -- sh -c 'test -t 1'")?;

    shell.run("lepton port-forward web 8081:8080 9:9 > /tmp/ports 2> /tmp/said & echo $! > /tmp/forward")?;
    shell.until("the port is there", "grep '127.0.0.1:8081 -> web-edge-1:8080' /tmp/ports")?;
    shell.run("wget -q -O - http://127.0.0.1:8081/ | grep 'page of web-edge-1'")?;
    // Whoever has said all still gets the answer.
    shell.run("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 8081 | grep 'page of web-edge-1'")?;
    shell.run("! nc 127.0.0.1 9 < /dev/null | grep .")?;
    shell.until("why not", "grep 'error forwarding port 9' /tmp/said")?;
    shell.run("kill $(cat /tmp/forward)")?;
    shell.until("no port any more", "! nc 127.0.0.1 8081 < /dev/null")
}
