//! Kinds of objects, as the paths of the API name them.

/// A kind of object that one API group serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// The path's word, as in `deployments`.
    pub plural: &'static str,
    /// The object's word, as in `Deployment`.
    pub kind: &'static str,
}

impl Resource {
    /// `apiVersion` as objects carry it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path of an object in a namespace, or of all of them there.
    pub fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}/namespaces/{namespace}/{}{name}", self.root(), self.plural)
    }

    /// The path of an object outside namespaces, or of all of them.
    pub fn cluster_path(&self, name: Option<&str>) -> String {
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}/{}{name}", self.root(), self.plural)
    }

    fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

const fn core(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural,
        kind,
    }
}

const fn apps(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        group: "apps",
        version: "v1",
        plural,
        kind,
    }
}

pub const NAMESPACES: Resource = core("namespaces", "Namespace");
pub const PODS: Resource = core("pods", "Pod");
pub const SERVICES: Resource = core("services", "Service");
pub const EVENTS: Resource = core("events", "Event");
pub const RESOURCE_QUOTAS: Resource = core("resourcequotas", "ResourceQuota");
pub const DEPLOYMENTS: Resource = apps("deployments", "Deployment");
pub const REPLICA_SETS: Resource = apps("replicasets", "ReplicaSet");
pub const AUTOSCALERS: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    plural: "horizontalpodautoscalers",
    kind: "HorizontalPodAutoscaler",
};
pub const DISRUPTION_BUDGETS: Resource = Resource {
    group: "policy",
    version: "v1",
    plural: "poddisruptionbudgets",
    kind: "PodDisruptionBudget",
};
pub const ENDPOINT_SLICES: Resource = Resource {
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
    kind: "EndpointSlice",
};
pub const INGRESSES: Resource = Resource {
    group: "networking.k8s.io",
    version: "v1",
    plural: "ingresses",
    kind: "Ingress",
};
pub const ACCESS_REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    version: "v1",
    plural: "selfsubjectaccessreviews",
    kind: "SelfSubjectAccessReview",
};
