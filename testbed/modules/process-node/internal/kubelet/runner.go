package kubelet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"stepworks.dev/testbed/process-node/sandbox"
)

// runner runs one pod from the moment it is bound to the node until its object is gone.
type runner struct {
	kubelet *Kubelet
	folder  string
	started time.Time

	ctx     context.Context // ends when the pod shall
	stop    context.CancelFunc
	grace   context.Context // ends when what still runs is to be killed
	expire  context.CancelFunc
	changed chan struct{} // gets a value when the status has
	running sync.WaitGroup
	done    chan struct{}

	mutex      sync.Mutex
	pod        *v1.Pod
	containers []*container
	volumes    map[string]volume
	sandbox    sandbox.Sandbox
	waiting    v1.ContainerStateWaiting // why no container runs yet
	ending     *ending
	timer      *time.Timer // of the time of grace
	complete   bool        // nothing runs any more
	conditions map[v1.PodConditionType]v1.PodCondition
}

// ending is why a pod must end, and by when. The zero value is: at once, whatever the phase.
type ending struct {
	deadline  time.Time
	phase     v1.PodPhase
	reason    string
	message   string
	disrupted bool
}

func newRunner(kubelet *Kubelet, pod *v1.Pod) *runner {
	ctx, stop := context.WithCancel(context.Background())
	grace, expire := context.WithCancel(context.Background())
	r := &runner{
		kubelet: kubelet, folder: kubelet.podFolder(pod), started: time.Now(),
		ctx: ctx, stop: stop, grace: grace, expire: expire,
		changed: make(chan struct{}, 1), done: make(chan struct{}), pod: pod,
		waiting:    v1.ContainerStateWaiting{Reason: "ContainerCreating"},
		conditions: map[v1.PodConditionType]v1.PodCondition{},
	}
	for index := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[index]
		role := initRole
		if spec.RestartPolicy != nil && *spec.RestartPolicy == v1.ContainerRestartPolicyAlways {
			role = sidecarRole
		}
		r.containers = append(r.containers, &container{spec: spec, role: role})
	}
	for index := range pod.Spec.Containers {
		r.containers = append(r.containers, &container{spec: &pod.Spec.Containers[index], role: mainRole})
	}
	return r
}

// Pod is the pod as the API server showed it last.
func (r *runner) Pod() *v1.Pod {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.pod
}

func (r *runner) address() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.sandbox == nil {
		return ""
	}
	return r.sandbox.Address()
}

// update changes the state under the lock, and has the status written.
func (r *runner) update(change func()) {
	r.mutex.Lock()
	change()
	r.mutex.Unlock()
	notify(r.changed)
}

func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default: // it is told already
	}
}

// observe takes notice of the pod's newest form.
func (r *runner) observe(pod *v1.Pod) {
	r.update(func() { r.pod = pod }) // its readiness gates may have changed
	if pod.DeletionTimestamp == nil {
		return
	}
	grace := time.Duration(0)
	if pod.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	}
	select {
	case <-r.done:
		go r.kubelet.remove(context.Background(), pod)
	default:
		r.end(ending{deadline: time.Now().Add(grace)})
	}
}

// end has the pod ended. A later call can only shorten the time of grace.
func (r *runner) end(how ending) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case r.ending == nil:
		r.ending = &how
		r.timer = time.AfterFunc(time.Until(how.deadline), r.expire)
	case how.deadline.Before(r.ending.deadline):
		r.ending.deadline = how.deadline
		r.timer.Reset(time.Until(how.deadline))
	}
	r.stop()
}

// run is the life of a pod.
func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	written := make(chan struct{})
	finished := make(chan struct{})
	go r.writeStatus(ctx, finished, written)
	r.limitTime()
	if r.prepare() && r.initialize() {
		r.serve()
	}
	r.stopAll()
	r.running.Wait()
	r.leave()
	r.update(func() { r.complete = true })
	r.expire()
	close(finished)
	<-written
	if pod := r.Pod(); pod.DeletionTimestamp != nil {
		r.kubelet.remove(ctx, pod)
	}
}

// limitTime has the pod ended when it has been active for as long as it may.
func (r *runner) limitTime() {
	seconds := r.Pod().Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return
	}
	timer := time.AfterFunc(time.Duration(*seconds)*time.Second, func() {
		r.end(ending{
			deadline: time.Now().Add(graceOf(r.Pod())), phase: v1.PodFailed, reason: "DeadlineExceeded",
			message: "Pod was active on the node longer than the specified deadline",
		})
	})
	context.AfterFunc(r.ctx, func() { timer.Stop() })
}

func graceOf(pod *v1.Pod) time.Duration {
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		return v1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
}

// prepare makes the pod's sandbox and volumes, however often that takes.
func (r *runner) prepare() bool {
	notify(r.changed)
	backoff := newBackoff(time.Second, 10*time.Second)
	for r.ctx.Err() == nil {
		err := r.prepareOnce()
		if err == nil {
			return true
		}
		var taken *sandbox.PortInUseError
		if errors.As(err, &taken) && r.Pod().Spec.RestartPolicy == v1.RestartPolicyNever {
			r.end(ending{phase: v1.PodFailed, reason: "PortInUse", message: err.Error()})
			return false
		}
		sleep(r.ctx, backoff.Step())
	}
	return false
}

func (r *runner) prepareOnce() error {
	if err := os.MkdirAll(filepath.Join(r.folder, "containers"), 0o755); err != nil {
		r.event(nil, v1.EventTypeWarning, "Failed", "cannot make the pod's folder: %v", err)
		return err
	}
	if r.address() == "" {
		made, err := r.kubelet.host.NewSandbox(r.description())
		if err != nil {
			var taken *sandbox.PortInUseError
			reason := "FailedCreatePodSandBox"
			if errors.As(err, &taken) {
				reason = "PortInUse"
				r.update(func() { r.waiting = v1.ContainerStateWaiting{Reason: reason, Message: err.Error()} })
			}
			r.event(nil, v1.EventTypeWarning, reason, "Failed to create pod sandbox: %v", err)
			return err
		}
		r.update(func() {
			r.sandbox = made
			r.waiting = v1.ContainerStateWaiting{Reason: "ContainerCreating"}
		})
	}
	volumes, err := r.prepareVolumes(r.ctx)
	if err != nil {
		if r.ctx.Err() == nil {
			r.event(nil, v1.EventTypeWarning, "FailedMount", "%v", err)
		}
		return err
	}
	r.update(func() { r.volumes = volumes })
	return nil
}

func (r *runner) description() sandbox.Pod {
	pod := r.Pod()
	described := sandbox.Pod{
		UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name, Hostname: hostname(pod),
		Subdomain: pod.Spec.Subdomain, Folder: r.folder,
	}
	for _, alias := range pod.Spec.HostAliases {
		described.HostAliases = append(described.HostAliases, append([]string{alias.IP}, alias.Hostnames...))
	}
	for _, container := range r.containers {
		for _, port := range container.spec.Ports {
			if port.Protocol == "" || port.Protocol == v1.ProtocolTCP {
				described.Ports = append(described.Ports, int(port.ContainerPort))
			}
		}
	}
	return described
}

// leave gives back what the pod holds of the machine, but for its logs.
func (r *runner) leave() {
	r.mutex.Lock()
	held := r.sandbox
	r.mutex.Unlock()
	if held != nil {
		if err := held.Close(); err != nil {
			r.event(nil, v1.EventTypeWarning, "FailedKillPod", "error killing pod: %v", err)
		}
	}
	_ = os.RemoveAll(filepath.Join(r.folder, "volumes")) // what cannot be removed now goes with the pod's folder
}

func newBackoff(first, longest time.Duration) *wait.Backoff {
	return &wait.Backoff{Duration: first, Factor: 2, Steps: 1 << 30, Cap: longest}
}

// names lists containers for a message.
func names(containers []*container) string {
	listed := make([]string, len(containers))
	for index, container := range containers {
		listed[index] = container.spec.Name
	}
	return strings.Join(listed, " ")
}
