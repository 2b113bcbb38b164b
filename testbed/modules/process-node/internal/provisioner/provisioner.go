// Package provisioner gives PersistentVolumeClaims a folder of this machine.
//
// A claim whose StorageClass names the provisioner gets a PersistentVolume that is bound to it; when the claim is
// deleted, so are the volume and, as its reclaim policy says, the folder.
package provisioner

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// Name is what a StorageClass writes as its provisioner.
	Name       = "testbed.stepworks.dev/folder"
	annotation = "pv.kubernetes.io/provisioned-by"
)

// Provisioner makes and deletes the folders of claims.
type Provisioner struct {
	client kubernetes.Interface
	folder string
	queue  workqueue.TypedRateLimitingInterface[work]
}

// work names a claim to provide for, or a volume to reclaim.
type work struct{ namespace, claim, volume string }

// Run provides for claims until the context ends; each has <namespace>/<claim> in the folder given.
func Run(ctx context.Context, client kubernetes.Interface, folder string) {
	p := &Provisioner{client: client, folder: folder, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[work](100*time.Millisecond, 5*time.Second))}
	p.follow(ctx, "persistentvolumeclaims", &v1.PersistentVolumeClaim{}, func(object any) {
		if claim, ok := object.(*v1.PersistentVolumeClaim); ok && claim.Spec.VolumeName == "" {
			p.queue.Add(work{namespace: claim.Namespace, claim: claim.Name})
		}
	})
	p.follow(ctx, "persistentvolumes", &v1.PersistentVolume{}, func(object any) {
		if volume, ok := object.(*v1.PersistentVolume); ok && isReleased(volume) {
			p.queue.Add(work{volume: volume.Name})
		}
	})
	context.AfterFunc(ctx, p.queue.ShutDown)
	for {
		item, ended := p.queue.Get()
		if ended {
			return
		}
		if err := p.do(ctx, item); err != nil {
			log.Printf("claim %s/%s, volume %q: %v; this is tried again", item.namespace, item.claim, item.volume, err)
			p.queue.AddRateLimited(item)
		} else {
			p.queue.Forget(item)
		}
		p.queue.Done(item)
	}
}

func (p *Provisioner) follow(ctx context.Context, resource string, object runtime.Object, take func(any)) {
	source := cache.NewListWatchFromClient(p.client.CoreV1().RESTClient(), resource, v1.NamespaceAll, fields.Everything())
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: object,
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: take, UpdateFunc: func(_, now any) { take(now) }},
	})
	go controller.RunWithContext(ctx)
}

func isReleased(volume *v1.PersistentVolume) bool {
	return volume.Annotations[annotation] == Name && volume.Status.Phase == v1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete
}

func (p *Provisioner) do(ctx context.Context, item work) error {
	if item.volume != "" {
		return p.reclaim(ctx, item.volume)
	}
	return p.provide(ctx, item.namespace, item.claim)
}

// provide makes the folder and the volume of a claim that is to have one.
func (p *Provisioner) provide(ctx context.Context, namespace, name string) error {
	claim, err := p.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
		return err
	}
	class, err := p.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || class.Provisioner != Name {
		return err
	}
	folder := filepath.Join(p.folder, namespace, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o777); err != nil { // whatever the umask
		return err
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim, folder), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func volumeFor(claim *v1.PersistentVolumeClaim, folder string) *v1.PersistentVolume {
	kind := v1.HostPathDirectoryOrCreate
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pvc-" + string(claim.UID), Annotations: map[string]string{annotation: Name},
		},
		Spec: v1.PersistentVolumeSpec{
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			StorageClassName:              *claim.Spec.StorageClassName,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: v1.PersistentVolumeSource{
				HostPath: &v1.HostPathVolumeSource{Path: folder, Type: &kind},
			},
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
}

// reclaim deletes the folder and the volume of a claim that is gone.
func (p *Provisioner) reclaim(ctx context.Context, name string) error {
	volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !isReleased(volume) {
		return err
	}
	if err := p.removeFolder(ctx, volume); err != nil {
		return err
	}
	err = p.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// removeFolder deletes a volume's folder, unless a new claim of the same name has it by now.
func (p *Provisioner) removeFolder(ctx context.Context, volume *v1.PersistentVolume) error {
	folder, claim := volume.Spec.HostPath.Path, volume.Spec.ClaimRef
	if inside, err := filepath.Rel(p.folder, folder); err != nil || !filepath.IsLocal(inside) || inside == "." {
		return fmt.Errorf("the folder %s is not one of %s, and is left alone", folder, p.folder)
	}
	found, err := p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	if err == nil && found.UID != claim.UID {
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return os.RemoveAll(folder)
}
