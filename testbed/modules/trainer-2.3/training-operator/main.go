// The training-operator's controllers of PyTorchJobs and TFJobs, without its own main program: that one keeps the
// certificates of its webhooks in one folder for the whole machine, which two test beds would share.
package main

import (
	"flag"
	"os"

	trainingv1 "github.com/kubeflow/training-operator/pkg/apis/kubeflow.org/v1"
	"github.com/kubeflow/training-operator/pkg/config"
	controllers "github.com/kubeflow/training-operator/pkg/controller.v1"
	"github.com/kubeflow/training-operator/pkg/controller.v1/common"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	probeAddress := flag.String("health-probe-bind-address", "127.0.0.1:8081", "where /readyz is served")
	flag.Parse() // --kubeconfig is a flag of controller-runtime
	ctrl.SetLogger(zap.New())
	if err := run(*probeAddress); err != nil {
		ctrl.Log.Error(err, "the training-operator cannot run")
		os.Exit(1)
	}
}

func run(probeAddress string) error {
	// What its own main program's flags say by default: the init container of a worker waits for the master.
	config.Config.PyTorchInitContainerImage = config.PyTorchInitContainerImageDefault
	config.Config.PyTorchInitContainerTemplateFile = config.PyTorchInitContainerTemplateFileDefault
	config.Config.PyTorchInitContainerMaxTries = config.PyTorchInitContainerMaxTriesDefault
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(trainingv1.AddToScheme(scheme))
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                 scheme,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: probeAddress,
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{trainingv1.PyTorchJobKind, trainingv1.TFJobKind} {
		setup := controllers.SupportedSchemeReconciler[kind]
		if err := setup(manager, common.GenNonGangSchedulerSetupFunc(), 2); err != nil {
			return err
		}
	}
	if err := manager.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
