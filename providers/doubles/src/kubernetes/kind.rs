//! The kinds that the double serves: where each is found, and which of its parts the server treats apart.

use crate::kubernetes::schema::Shape;

/// One kind of object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    /// The versions served; objects are stored in the last.
    pub(crate) versions: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) namespaced: bool,
    /// Whether `status` is written by its own subresource only.
    pub(crate) status: bool,
    pub(crate) scale: bool,
    /// Whether `metadata.generation` counts the changes of what is wanted.
    pub(crate) generation: bool,
    /// Whether the kind comes from a CustomResourceDefinition.
    pub(crate) custom: bool,
}

const fn core(kind: &'static str, plural: &'static str, singular: &'static str) -> Kind {
    Kind {
        group: "",
        versions: &["v1"],
        kind,
        plural,
        singular,
        namespaced: true,
        status: false,
        scale: false,
        generation: false,
        custom: false,
    }
}

/// Every kind, in the order in which discovery names them.
pub(crate) static KINDS: &[Kind] = &[
    Kind {
        namespaced: false,
        status: true,
        ..core("Namespace", "namespaces", "namespace")
    },
    Kind {
        namespaced: false,
        status: true,
        ..core("Node", "nodes", "node")
    },
    core("ConfigMap", "configmaps", "configmap"),
    core("Secret", "secrets", "secret"),
    core("ServiceAccount", "serviceaccounts", "serviceaccount"),
    Kind {
        status: true,
        ..core("Service", "services", "service")
    },
    core("Endpoints", "endpoints", "endpoints"),
    Kind {
        status: true,
        generation: true,
        ..core("Pod", "pods", "pod")
    },
    core("Event", "events", "event"),
    Kind {
        status: true,
        ..core("ResourceQuota", "resourcequotas", "resourcequota")
    },
    Kind {
        group: "apps",
        status: true,
        scale: true,
        generation: true,
        ..core("Deployment", "deployments", "deployment")
    },
    Kind {
        group: "apps",
        status: true,
        scale: true,
        generation: true,
        ..core("ReplicaSet", "replicasets", "replicaset")
    },
    Kind {
        group: "autoscaling",
        versions: &["v2"],
        status: true,
        ..core(
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            "horizontalpodautoscaler",
        )
    },
    Kind {
        group: "policy",
        status: true,
        generation: true,
        ..core("PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget")
    },
    Kind {
        group: "networking.k8s.io",
        status: true,
        generation: true,
        ..core("Ingress", "ingresses", "ingress")
    },
    Kind {
        group: "networking.k8s.io",
        namespaced: false,
        generation: true,
        ..core("IngressClass", "ingressclasses", "ingressclass")
    },
    Kind {
        group: "discovery.k8s.io",
        generation: true,
        ..core("EndpointSlice", "endpointslices", "endpointslice")
    },
    Kind {
        group: "apiextensions.k8s.io",
        namespaced: false,
        status: true,
        generation: true,
        ..core(
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
        )
    },
    Kind {
        group: "networking.istio.io",
        status: true,
        generation: true,
        custom: true,
        ..core("VirtualService", "virtualservices", "virtualservice")
    },
    Kind {
        group: "networking.istio.io",
        status: true,
        generation: true,
        custom: true,
        ..core("DestinationRule", "destinationrules", "destinationrule")
    },
    Kind {
        group: "gateway.networking.k8s.io",
        status: true,
        generation: true,
        custom: true,
        ..core("HTTPRoute", "httproutes", "httproute")
    },
    Kind {
        group: "split.smi-spec.io",
        versions: &["v1alpha2", "v1alpha3", "v1alpha4"],
        generation: true,
        custom: true,
        ..core("TrafficSplit", "trafficsplits", "trafficsplit")
    },
];

impl Kind {
    /// The kind of that name; every caller names one that the list has.
    pub(crate) fn named(name: &str) -> &'static Kind {
        KINDS
            .iter()
            .find(|kind| kind.kind == name)
            .expect("callers name kinds of the list")
    }

    /// The kind served under that group, version and plural.
    pub(crate) fn served(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        KINDS
            .iter()
            .find(|kind| kind.group == group && kind.plural == plural && kind.versions.contains(&version))
    }

    /// The structure of its objects.
    pub(crate) fn shape(&self) -> Shape {
        Shape::of(self.kind)
    }

    /// `apps/v1`, or `v1` for the core group, in the version that is stored.
    pub(crate) fn api_version(&self) -> String {
        self.api_version_at(self.versions.last().copied().unwrap_or("v1"))
    }

    pub(crate) fn api_version_at(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// `deployments.apps`, as messages about missing and conflicting objects name it.
    pub(crate) fn qualified_plural(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Deployment.apps`, as messages about invalid objects name it.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.kind == other.kind
    }
}
