#include "common/bezier_align.h"
#include "cuda/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("bezier_align", TORCH_BOX(&bezier_align<CudaPooling>));
  m.impl("bezier_align_backward", TORCH_BOX(&bezier_align_backward<CudaPooling>));
}

}  // namespace okulo
