package main
import ("testing";"context";"os";"time";"fmt")
func TestZZ(t *testing.T){
 c:=&Cluster{Dir:"/tmp/gw/state"}
 for _,f:=range []func() (string,error){
  func()(string,error){return traefik.ensure(context.Background(),c,os.Stdout)},
  func()(string,error){return envoy.ensure(context.Background(),c,os.Stdout)},
  func()(string,error){return contour.ensure(context.Background(),c,os.Stdout)},
  func()(string,error){return downloadModule(context.Background(),"sigs.k8s.io/gateway-api",gatewayAPIVersion)},
  func()(string,error){return downloadModule(context.Background(),"sigs.k8s.io/gateway-api","v9.9.9")},
 }{ b:=time.Now(); p,err:=f(); fmt.Println(p,err,time.Since(b)) }
}
