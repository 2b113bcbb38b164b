package provisioner

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func newClaim(class string) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data", UID: "1"},
		Spec:       v1.PersistentVolumeClaimSpec{StorageClassName: &class},
	}
}

func newClass(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner}
}

func newProvisioner(t *testing.T, objects ...runtime.Object) *Provisioner {
	t.Helper()
	return &Provisioner{client: fake.NewClientset(objects...), folder: t.TempDir()}
}

// released puts a volume of a claim into the cluster whose claim is gone, and its folder with a file.
func released(t *testing.T, p *Provisioner, folder string) *v1.PersistentVolume {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "rows"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	volume := volumeFor(newClaim("folder"), folder)
	volume.Status.Phase = v1.VolumeReleased
	made, err := p.client.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func hasVolume(t *testing.T, p *Provisioner, name string) bool {
	t.Helper()
	_, err := p.client.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestAClaimGetsAFolderThatEveryUserMayWriteTo(t *testing.T) {
	p := newProvisioner(t, newClaim("folder"), newClass("folder", Name))
	for range 2 { // it is told of a claim more than once
		if err := p.do(t.Context(), work{namespace: "team", claim: "data"}); err != nil {
			t.Fatal(err)
		}
	}
	folder := filepath.Join(p.folder, "team", "data")
	found, err := os.Stat(folder)
	if err != nil || found.Mode().Perm() != 0o777 {
		t.Fatalf("the folder: %v, %v", found, err)
	}
	volume, err := p.client.CoreV1().PersistentVolumes().Get(t.Context(), "pvc-1", metav1.GetOptions{})
	if err != nil || volume.Spec.HostPath.Path != folder || volume.Spec.ClaimRef.UID != "1" {
		t.Fatalf("the volume: %+v, %v", volume, err)
	}
}

func TestWhatIsNotForItIsLeftAlone(t *testing.T) {
	bound, going := newClaim("folder"), newClaim("folder")
	bound.Spec.VolumeName = "pvc-of-somebody"
	going.DeletionTimestamp = &metav1.Time{}
	for name, claim := range map[string]*v1.PersistentVolumeClaim{
		"another provisioner": newClaim("other"), "no such class": newClaim("absent"), "bound": bound, "going": going,
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvisioner(t, claim, newClass("folder", Name), newClass("other", "example.com/disk"))
			if err := p.do(t.Context(), work{namespace: "team", claim: "data"}); err != nil {
				t.Fatal(err)
			}
			if hasVolume(t, p, "pvc-1") || exists(filepath.Join(p.folder, "team")) {
				t.Fatal("it was given a volume or a folder")
			}
		})
	}
}

func TestTheFolderGoesWithItsClaim(t *testing.T) {
	p := newProvisioner(t)
	folder := filepath.Join(p.folder, "team", "data")
	volume := released(t, p, folder)
	for range 2 {
		if err := p.do(t.Context(), work{volume: volume.Name}); err != nil {
			t.Fatal(err)
		}
	}
	if exists(folder) || hasVolume(t, p, volume.Name) {
		t.Fatal("the folder or the volume is still there")
	}
}

func TestTheFolderOfANewClaimOfTheSameNameStays(t *testing.T) {
	next := newClaim("folder")
	next.UID = "2"
	p := newProvisioner(t, next)
	folder := filepath.Join(p.folder, "team", "data")
	volume := released(t, p, folder)
	if err := p.do(t.Context(), work{volume: volume.Name}); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(folder, "rows")) || hasVolume(t, p, volume.Name) {
		t.Fatal("the folder went, or the old volume stayed")
	}
}

func TestAFolderElsewhereIsNeverDeleted(t *testing.T) {
	p := newProvisioner(t)
	for name, folder := range map[string]string{"elsewhere": t.TempDir(), "all of them": p.folder} {
		t.Run(name, func(t *testing.T) {
			volume := released(t, p, folder)
			if err := p.do(t.Context(), work{volume: volume.Name}); err == nil {
				t.Fatal("it did not refuse")
			}
			if !exists(filepath.Join(folder, "rows")) || !hasVolume(t, p, volume.Name) {
				t.Fatal("the folder or the volume went")
			}
			if err := p.client.CoreV1().PersistentVolumes().Delete(t.Context(), volume.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
