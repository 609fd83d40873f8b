#include "common/roi_align_rotated.h"
#include "cuda/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("roi_align_rotated", TORCH_BOX(&roi_align_rotated<CudaPooling>));
  m.impl("roi_align_rotated_backward", TORCH_BOX(&roi_align_rotated_backward<CudaPooling>));
}

}  // namespace okulo
