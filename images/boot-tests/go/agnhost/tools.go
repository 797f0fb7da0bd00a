//go:build tools

// Package tools names the programs in the container images of Kubernetes' end-to-end suite.
package tools

import (
	_ "k8s.io/kubernetes/test/images/agnhost"
	_ "k8s.io/kubernetes/test/images/nonewprivs"
)
