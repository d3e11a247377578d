module kubeserverless

go 1.19
